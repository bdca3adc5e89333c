// SPDX-License-Identifier: GPL-2.0

//! Objects that need nobody but their user: memory, work, time, random numbers.

use super::{because, check, shared, File, Found, Test};
use fep_net::{
    foreign::ForeignHosts,
    percpu::PerCpuCounters,
    random::random_u64,
    rcu::{barrier, RcuArc},
    selftest::receive,
    time::{killed, ticks},
    word::{OwnLine, Word},
    work::{Periodic, PeriodicWork},
};
use kernel::{
    prelude::*,
    sync::Arc,
    time::{delay::fsleep, Delta},
};

pub(super) const CASES: &[(&str, Test)] = &[
    ("percpu", percpu),
    ("rcu", rcu),
    ("work", work),
    ("slab", slab),
    ("time", time),
    ("random", random),
    ("word", word),
    ("foreign", foreign),
    ("table", shared::table),
];

/// Waits, for as long as a slow machine may need, until `condition`.
pub(super) fn wait_for(condition: impl Fn() -> bool) -> bool {
    for _ in 0..6000 {
        if condition() {
            return true;
        }
        fsleep(Delta::from_millis(10));
    }
    false
}

fn percpu(file: &File, _: usize) -> Found {
    let counters = PerCpuCounters::<3>::new().map_err(|_| "no memory")?;
    receive(&file.net, |cx| {
        counters.local(cx)[0].add_local(1);
        counters.local(cx)[2].add_local(u64::MAX);
    });
    check(counters.sum(0) == 1, "another sum")?;
    check(counters.sum(1) == 0, "a neighbour's sum")?;
    check(counters.sum(2) == u64::MAX, "the last one's sum")?;
    check(counters.sum(3) == 0, "the sum of none")?;
    Ok(0)
}

/// Counts when it goes.
struct Counted(Arc<Word<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get().wrapping_add(1));
    }
}

fn rcu(file: &File, _: usize) -> Found {
    let gone = Arc::new(Word::new(0), GFP_KERNEL).map_err(|_| "no memory")?;
    let make = || Arc::new(Counted(gone.clone()), GFP_KERNEL).map_err(|_| "no memory");
    let published = RcuArc::new(make()?);
    for turn in 1..=3 {
        let of_mine = receive(&file.net, |cx| Arc::ptr_eq(&published.read(cx).0, &gone));
        check(of_mine, "another value than was published")?;
        published.replace(make()?);
        check(gone.get() == turn, "the replaced one has not gone")?;
    }
    drop(published);
    check(gone.get() == 4, "the last one has not gone")?;
    barrier();
    Ok(0)
}

struct Ticker(Word<u32>);

impl Periodic for Ticker {
    fn run(&self) -> u32 {
        self.0.set(self.0.get().wrapping_add(1));
        1
    }
}

fn work(_: &File, _: usize) -> Found {
    let ticker = Arc::new(Ticker(Word::new(0)), GFP_KERNEL).map_err(|_| "no memory")?;
    let running = PeriodicWork::start(ticker.clone(), 1).map_err(|e| because("not started", e))?;
    check(wait_for(|| ticker.0.get() >= 3), "it does not run")?;
    drop(running);
    let runs = ticker.0.get();
    fsleep(Delta::from_millis(50));
    check(ticker.0.get() == runs, "it runs on")?;
    let later = PeriodicWork::start(ticker.clone(), u32::MAX).map_err(|e| because("again", e))?;
    drop(later);
    check(ticker.0.get() == runs, "it ran too early")?;
    check(
        Arc::into_unique_or_drop(ticker).is_some(),
        "it is still used",
    )?;
    Ok(0)
}

fn slab(_: &File, _: usize) -> Found {
    let again = shared::SLAB.create(c"fep_selftest_again");
    check(again.is_err_and(|error| error == EEXIST), "created twice")?;
    Ok(0)
}

fn time(_: &File, _: usize) -> Found {
    let start = ticks();
    check(wait_for(|| ticks() != start), "the time stands still")?;
    check(!killed(), "killed")?;
    Ok(0)
}

fn random(_: &File, _: usize) -> Found {
    check(random_u64() != random_u64(), "the same number twice")?;
    Ok(0)
}

fn word(_: &File, _: usize) -> Found {
    let word = OwnLine(Word::new(u64::MAX));
    word.add_local(2);
    check(word.get() == 1, "another word")?;
    check(core::mem::align_of_val(&word) == 64, "not on its own line")?;
    Ok(0)
}

fn foreign(file: &File, _: usize) -> Found {
    let hosts = ForeignHosts::new().map_err(|e| because("no memory", e))?;
    receive(&file.net, |cx| {
        let broadcast = core::net::Ipv4Addr::BROADCAST;
        let loopback = core::net::Ipv4Addr::LOCALHOST;
        for _ in 0..2 {
            check(!hosts.contains(cx, broadcast), "broadcast is a host's")?;
            check(!hosts.contains(cx, loopback), "127.0.0.1 is foreign")?;
        }
        Ok(0)
    })
}
