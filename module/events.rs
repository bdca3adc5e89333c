// SPDX-License-Identifier: GPL-2.0

//! What the control plane is told without asking: events, read from `/dev/fep`.
//!
//! They are found out in process context only: by commits, and once a second by the sweep's work, which
//! compares what it sees with what it told last. So packets pay nothing for them.

use crate::{node::Info, state::NetState};
use fep_net::{chardev::Waiting, time::give_way};
use fep_uapi::{Counter, Event, EventKind, ServiceId};
use kernel::{
    new_mutex, new_poll_condvar,
    prelude::*,
    sync::{poll::PollCondVar, Arc, Mutex},
    uaccess::UserSliceWriter,
};
use zerocopy::IntoBytes;

/// The events of an open file that have not been read.
#[pin_data]
pub(crate) struct Queue {
    #[pin]
    ring: Mutex<Ring>,
    #[pin]
    arrived: PollCondVar,
}

struct Ring {
    events: KVec<Event>,
    /// Where the oldest is, and how many there are.
    first: usize,
    count: usize,
    /// Events that there was no room for since the last that there was.
    lost: u32,
}

impl Ring {
    fn push(&mut self, event: &Event) {
        let capacity = self.events.len();
        if self.count >= capacity {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        let at = self.first.wrapping_add(self.count) % capacity.max(1);
        if let Some(place) = self.events.get_mut(at) {
            *place = Event {
                lost: self.lost,
                ..*event
            };
            self.lost = 0;
            self.count = self.count.wrapping_add(1);
        }
    }
}

impl Queue {
    /// With room for so many events. Sleeps.
    pub(crate) fn new(capacity: u32) -> Result<Arc<Self>> {
        let mut events = KVec::new();
        events.resize(capacity as usize, Event::default(), GFP_KERNEL_ACCOUNT)?;
        let ring = Ring {
            events,
            first: 0,
            count: 0,
            lost: 0,
        };
        Arc::pin_init(
            pin_init!(Self {
                ring <- new_mutex!(ring),
                arrived <- new_poll_condvar!(),
            }),
            GFP_KERNEL_ACCOUNT,
        )
    }

    fn push(&self, event: &Event) {
        self.ring.lock().push(event);
        self.arrived.notify_all();
    }

    /// Writes whole events, as many as there are and as there is room for; waits for one if it may.
    /// Returns how many bytes.
    pub(crate) fn read(&self, to: &mut UserSliceWriter, may_wait: bool) -> Result<usize> {
        const SIZE: usize = core::mem::size_of::<Event>();
        if to.len() < SIZE {
            return Err(EINVAL);
        }
        let mut ring = self.ring.lock();
        while ring.count == 0 {
            if !may_wait {
                return Err(EAGAIN);
            }
            if self.arrived.wait_interruptible(&mut ring) {
                return Err(ERESTARTSYS);
            }
        }
        let mut written = 0usize;
        while ring.count != 0 && to.len() >= SIZE {
            let Some(event) = ring.events.get(ring.first) else {
                break;
            };
            if let Err(error) = to.write_slice(event.as_bytes()) {
                return if written == 0 {
                    Err(error)
                } else {
                    Ok(written)
                };
            }
            ring.first = ring.first.wrapping_add(1) % ring.events.len().max(1);
            ring.count = ring.count.wrapping_sub(1);
            written = written.saturating_add(SIZE);
        }
        Ok(written)
    }

    /// Whether there is an event; the caller is told when one arrives.
    pub(crate) fn poll(&self, waiting: &Waiting<'_>) -> bool {
        waiting.on(&self.arrived);
        self.ring.lock().count != 0
    }
}

/// Who is told of events.
pub(crate) struct Listeners {
    queues: KVec<Arc<Queue>>,
    /// Sequence number of the next event.
    next: u64,
    /// Clients that the table had no room for, when that was last looked at; and whether it has been
    /// told that there was none.
    refused: u64,
    full: bool,
}

impl Listeners {
    pub(crate) const fn new() -> Self {
        Self {
            queues: KVec::new(),
            next: 1,
            refused: 0,
            full: false,
        }
    }

    fn tell(&mut self, event: Event) {
        let event = Event {
            sequence: self.next,
            ..event
        };
        self.next = self.next.wrapping_add(1);
        for queue in &self.queues {
            queue.push(&event);
        }
    }
}

fn event(kind: EventKind, generation: u64) -> Event {
    Event {
        kind: kind.code(),
        generation,
        ..Event::default()
    }
}

impl NetState {
    /// Tells a queue of events from now on. Returns the sequence number of the next.
    pub(crate) fn subscribe(&self, queue: Arc<Queue>) -> Result<u64> {
        let mut listeners = self.listeners.lock();
        if listeners.queues.is_empty() {
            listeners.refused = self.refused();
            listeners.full = false;
        }
        listeners.queues.push(queue, GFP_KERNEL_ACCOUNT)?;
        Ok(listeners.next)
    }

    /// Tells it no more.
    pub(crate) fn unsubscribe(&self, queue: &Arc<Queue>) {
        let mut listeners = self.listeners.lock();
        listeners.queues.retain(|other| !Arc::ptr_eq(other, queue));
    }

    /// Tells that the configuration is another one.
    pub(crate) fn tell_changed(&self, generation: u64) {
        let mut listeners = self.listeners.lock();
        listeners.tell(event(EventKind::ConfigChanged, generation));
    }

    fn refused(&self) -> u64 {
        // Behind the word for the devices.
        let index = (Counter::DropTableFull as usize).wrapping_add(1);
        self.counters.sum(index)
    }

    /// Looks for what is to be told, if anybody listens. Process context.
    pub(crate) fn look_round(&self) {
        if self.listeners.lock().queues.is_empty() {
            return;
        }
        let snapshot = self.config.lock().snapshot.clone();
        let generation = snapshot.generation;
        {
            let mut listeners = self.listeners.lock();
            let refused = self.refused();
            let full = refused != listeners.refused;
            listeners.refused = refused;
            if full != listeners.full {
                listeners.full = full;
                let kind = match full {
                    true => EventKind::TableFull,
                    false => EventKind::TableRoom,
                };
                listeners.tell(event(kind, generation));
            }
        }
        let services = snapshot.services.iter();
        let members = services.flat_map(|service| service.members.iter());
        for (at, member) in members.enumerate() {
            if at % 1024 == 1023 {
                give_way();
            }
            let info = member.backend.info();
            let drained = member.weight == 0 && member.backend.routes() == 0;
            if drained != info.told_drained.get() {
                info.told_drained.set(drained);
                if drained {
                    self.tell_of(info, EventKind::BackendDrained, generation);
                }
            }
            let failures = info.syns.sum();
            if failures != info.told_syns.get() {
                info.told_syns.set(failures);
                self.tell_of(info, EventKind::SynFailures, generation);
            }
        }
    }

    fn tell_of(&self, info: &Info, kind: EventKind, generation: u64) {
        let count = |number: i64| number.unsigned_abs();
        let event = Event {
            service: ServiceId::from(info.service.id),
            backend: info.node.into(),
            syn_unanswered: count(info.syns.unanswered.get()),
            syn_reset: count(info.syns.reset.get()),
            syn_repeated: count(info.syns.repeated.get()),
            ..event(kind, generation)
        };
        self.listeners.lock().tell(event);
    }
}
