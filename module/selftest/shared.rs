// SPDX-License-Identifier: GPL-2.0

//! What several processes use at once: the table, its groups, values behind RCU, per-CPU counters and
//! locks. The processes are whoever has the file open.

use super::{because, check, objects::wait_for, File, Found, Test};
use fep_net::{
    group::Group,
    lock::BhLock,
    percpu::PerCpuCounters,
    rcu::{barrier, RcuArc},
    rx::RxContext,
    selftest::receive,
    table::{Chain, Entry, EntrySlab, InsertError, Inserted, Table},
    time::give_way,
    word::Word,
};
use kernel::{
    prelude::*,
    static_lock_class,
    sync::{atomic::Relaxed, Arc},
};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("table_race", race),
    ("table_churn", churn),
    ("table_fill", fill),
    ("table_walk", walk),
    ("table_entries", |file, _| {
        Ok(file.shared.table.len() as usize)
    }),
    ("table_buckets", |file, _| {
        Ok(file.shared.table.bucket_count() as usize)
    }),
    ("table_empty", empty),
    ("table_tidy", tidy),
    ("rcu_read", rcu_read),
    ("rcu_replace", rcu_replace),
    ("count", count),
    ("counted", counted),
    ("lock", lock),
    ("locked", locked),
];

/// Keys that `table_race` inserts.
const KEYS: u32 = 4096;
/// Keys that `table_fill` does, for each caller: the table has to grow several times.
const FILL: u32 = 20_000;
/// What `count` and `lock` do, so many times.
const TIMES: u32 = 20_000;

pub(super) static SLAB: EntrySlab<Item> = EntrySlab::new();

/// Entries that have been made and not dropped.
static ALIVE: Word<i32> = Word::new(0);

/// An entry of the table. Two keys have one hash.
pub(super) struct Item {
    key: u32,
    check: u32,
    group: Arc<Group<Item>>,
}

fn hash(key: u32) -> u32 {
    (key / 2).wrapping_mul(0x9e37_79b1)
}

impl Item {
    fn new(key: u32, group: &Arc<Group<Self>>) -> Self {
        ALIVE.atomic().add(1, Relaxed);
        Self {
            key,
            check: !key,
            group: group.clone(),
        }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.check = 0;
        ALIVE.atomic().add(-1, Relaxed);
    }
}

impl Entry for Item {
    fn hash(&self) -> u32 {
        hash(self.key)
    }

    fn group(&self) -> &Group<Self> {
        &self.group
    }

    fn slab() -> &'static EntrySlab<Self> {
        &SLAB
    }
}

/// A value that shows whether it is whole.
struct Whole(u64, u64);

impl Drop for Whole {
    fn drop(&mut self) {
        self.1 = self.0;
    }
}

/// An open file's state.
#[pin_data]
pub(super) struct Shared {
    #[pin]
    table: Table<Item>,
    groups: [Arc<Group<Item>>; 2],
    value: RcuArc<Whole>,
    counters: PerCpuCounters<1>,
    #[pin]
    locked: BhLock<(u64, u64)>,
}

impl Shared {
    pub(super) fn new() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            table <- Table::new(),
            groups: [
                Arc::pin_init(Group::new(), GFP_KERNEL)?,
                Arc::pin_init(Group::new(), GFP_KERNEL)?,
            ],
            value: RcuArc::new(Arc::new(Whole(0, !0), GFP_KERNEL)?),
            counters: PerCpuCounters::new()?,
            locked <- BhLock::new((0, 0), c"fep_selftest", static_lock_class!()),
        }? Error)
    }

    /// Whether it is new.
    fn insert(&self, cx: &RxContext<'_>, key: u32) -> Result<bool, &'static str> {
        let group = &self.groups[(key % 2) as usize];
        let inserted = self.table.find_or_insert(
            cx,
            hash(key),
            |_| true,
            |item| item.key == key,
            |chain: Chain<'_, Item>| match chain.any(|item| item.key == key) {
                true => Err(()),
                false => Ok(Item::new(key, group)),
            },
        );
        match inserted {
            Ok(Inserted::New(item)) => whole(item, key).map(|()| true),
            Ok(Inserted::Existing(item)) => whole(item, key).map(|()| false),
            Err(InsertError::Full) => Err("full"),
            Err(InsertError::NoMemory) => Err("no memory"),
            Err(InsertError::Refused(())) => Err("made twice"),
        }
    }

    fn find<'a>(&'a self, cx: &'a RxContext<'_>, key: u32) -> Option<&'a Item> {
        self.table.find(cx, hash(key), |item| item.key == key)
    }
}

fn whole(item: &Item, key: u32) -> Result<(), &'static str> {
    check(
        item.key == key && item.check == !key,
        "an entry that is not whole",
    )
}

fn allocated(file: &File) -> Result<&Shared, &'static str> {
    match file.shared.table.bucket_count() {
        0 => Err("the table has no buckets: table_tidy comes first"),
        _ => Ok(&file.shared),
    }
}

/// Inserts all keys. Returns how many of them were new.
fn race(file: &File, worker: usize) -> Found {
    let shared = allocated(file)?;
    let mut new = 0;
    for at in 0..KEYS {
        // Half of the callers come from the other end.
        let key = if worker % 2 == 0 { at } else { KEYS - 1 - at };
        let inserted = receive(&file.net, |cx| {
            let inserted = shared.insert(cx, key)?;
            let item = shared.find(cx, key).ok_or("not found after insertion")?;
            whole(item, key).map(|()| inserted)
        })?;
        new += usize::from(inserted);
    }
    Ok(new)
}

/// Inserts and takes out again what others do too. Returns how many more went in than out.
fn churn(file: &File, worker: usize) -> Found {
    let shared = allocated(file)?;
    let (mut inserted, mut removed) = (0, 0);
    for at in 0..TIMES {
        // CAST: A worker's number.
        let key = (at.wrapping_mul(7919).wrapping_add(worker as u32 * 13)) % KEYS;
        receive(&file.net, |cx| {
            inserted += usize::from(shared.insert(cx, key)?);
            let other = key ^ 5;
            if let Some(item) = shared.find(cx, other) {
                whole(item, other)?;
                removed += usize::from(shared.table.remove(cx, item));
                // RCU keeps it for us.
                whole(item, other)?;
            }
            Ok::<(), &'static str>(())
        })?;
        if at % 1024 == 0 {
            give_way();
        }
    }
    // Others may have put in what we took out.
    Ok(1_000_000 + inserted - removed)
}

/// Inserts keys of the caller's own, and looks for all of them meanwhile and at the end.
fn fill(file: &File, worker: usize) -> Found {
    let shared = allocated(file)?;
    // CAST: A worker's number.
    let first = (worker as u32 + 1) * 1_000_000;
    for at in 0..FILL {
        receive(&file.net, |cx| {
            check(shared.insert(cx, first + at)?, "somebody else's key")?;
            for other in [at, at / 2, 0] {
                let item = shared.find(cx, first + other).ok_or("lost while it grew")?;
                whole(item, first + other)?;
            }
            Ok::<(), &'static str>(())
        })?;
        if at % 1024 == 0 {
            give_way();
        }
    }
    for at in 0..FILL {
        receive(&file.net, |cx| {
            let item = shared.find(cx, first + at).ok_or("lost")?;
            whole(item, first + at)
        })?;
    }
    Ok(0)
}

/// Walks over all entries by stretches, as a dump does. Returns how many there are.
fn walk(file: &File, _: usize) -> Found {
    let shared = allocated(file)?;
    let (mut first, mut seen, mut broken) = (0u32, 0, false);
    loop {
        let last = shared.table.stretch(first);
        shared.table.retain(first, last, |item| {
            broken |= whole(item, item.key).is_err();
            seen += 1;
            true
        });
        match last.checked_add(1) {
            Some(next) => first = next,
            None => break,
        }
        give_way();
    }
    check(!broken, "a walk met an entry that is not whole")?;
    Ok(seen)
}

/// Takes everything out: one group by its list, then the rest by the sweep. Returns how many went.
fn empty(file: &File, _: usize) -> Found {
    let shared = allocated(file)?;
    let [even, odd] = &shared.groups;
    let before = shared.table.len();
    let evens = even.len();
    check(evens + odd.len() == before, "groups and table differ")?;
    let visited = shared.table.retain_group(even, |_| false);
    check(
        visited == u64::from(evens) && even.is_empty(),
        "a group's rest",
    )?;
    let mut swept = 0;
    let mut first = 0u32;
    while let Some(next) = {
        let last = shared
            .table
            .sweep(first, u32::MAX, |_| true, |_| swept += 1);
        last.checked_add(1)
    } {
        first = next;
    }
    check(swept + evens == before, "the sweep has left some")?;
    check(
        shared.table.is_empty() && odd.is_empty(),
        "the table's rest",
    )?;
    barrier();
    check(ALIVE.get() == 0, "entries were dropped too often, or not")?;
    Ok(before as usize)
}

/// Gives the table its first buckets, or takes back what it does not need.
fn tidy(file: &File, _: usize) -> Found {
    let table = &file.shared.table;
    table.allocate().map_err(|e| because("no memory", e))?;
    table.tidy();
    Ok(table.bucket_count() as usize)
}

/// All of it by one process, and a table that is dropped with entries.
pub(super) fn table(file: &File, _: usize) -> Found {
    let mut own = File {
        shared: KBox::try_pin_init(Shared::new(), GFP_KERNEL)
            .map_err(|e| because("no memory", e))?,
        surroundings: file.surroundings.clone(),
        net: fep_net::netns::NetRef::current(),
    };
    let early = receive(&own.net, |cx| own.shared.insert(cx, 1));
    check(early == Err("no memory"), "inserted without buckets")?;
    let buckets = tidy(&own, 0)?;
    check(
        race(&own, 0)? == KEYS as usize,
        "other insertions than keys",
    )?;
    check(race(&own, 1)? == 0, "inserted again")?;
    check(walk(&own, 0)? == KEYS as usize, "a walk that misses some")?;
    fill(&own, 0)?;
    check(
        wait_for(|| own.shared.table.bucket_count() > FILL),
        "it does not grow",
    )?;
    check(walk(&own, 0)? == (KEYS + FILL) as usize, "lost in growing")?;
    empty(&own, 0)?;
    tidy(&own, 0)?;
    check(
        wait_for(|| own.shared.table.bucket_count() as usize == buckets),
        "it does not shrink",
    )?;
    race(&own, 0)?;
    own.shared =
        KBox::try_pin_init(Shared::new(), GFP_KERNEL).map_err(|e| because("no memory", e))?;
    drop(own);
    barrier();
    check(ALIVE.get() == 0, "a dropped table's entries")?;
    Ok(0)
}

fn rcu_read(file: &File, _: usize) -> Found {
    for _ in 0..TIMES {
        receive(&file.net, |cx| {
            let value = file.shared.value.read(cx);
            check(value.0 == !value.1, "a value that is not whole")
        })?;
    }
    Ok(0)
}

/// Several at once.
fn rcu_replace(file: &File, worker: usize) -> Found {
    for turn in 0..20 {
        // CAST: Widening.
        let value = (worker as u64) << 32 | turn;
        let value = Arc::new(Whole(value, !value), GFP_KERNEL).map_err(|_| "no memory")?;
        file.shared.value.replace(value);
    }
    Ok(0)
}

fn count(file: &File, _: usize) -> Found {
    for _ in 0..TIMES {
        receive(&file.net, |cx| {
            file.shared.counters.local(cx)[0].add_local(1)
        });
    }
    Ok(TIMES as usize)
}

fn counted(file: &File, _: usize) -> Found {
    usize::try_from(file.shared.counters.sum(0)).map_err(|_| "too many")
}

/// Counts behind a lock, as packets do and as process context does.
fn lock(file: &File, _: usize) -> Found {
    let lock = &file.shared.locked;
    for at in 0..TIMES {
        let same = if at % 2 == 0 {
            step(&mut lock.lock_bh())
        } else {
            receive(&file.net, |cx| step(&mut lock.lock_rx(cx)))
        };
        check(same, "two had the lock")?;
    }
    Ok(TIMES as usize)
}

fn step(value: &mut (u64, u64)) -> bool {
    let same = value.0 == value.1;
    value.0 += 1;
    value.1 += 1;
    same
}

fn locked(file: &File, _: usize) -> Found {
    let value = *file.shared.locked.lock_bh();
    check(value.0 == value.1, "halves differ")?;
    usize::try_from(value.0).map_err(|_| "too many")
}
