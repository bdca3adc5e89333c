// SPDX-License-Identifier: GPL-2.0

//! `/dev/fep_selftest`, in the self-test build alone: every abstraction of `fep_net` on real kernel
//! objects, and faults on request.
//!
//! Reading the device lists what there is, a line "KIND NAME" each; the ioctl `COMMAND` plus the line's
//! number runs it and returns what it has found, or -EIO when that is wrong: the log says why. Kinds:
//!
//! - `case`: stands for itself, returns 0;
//! - `shared`: of the open file's state, to be run by several processes at once;
//! - `script`: of the caller's namespace, which the caller changes meanwhile;
//! - `fault`: commits one.

mod objects;
mod packets;
mod shared;
mod surroundings;

use fep_net::{
    chardev::{ControlDevice, ControlFile, Waiting},
    netdev::DeviceNotifier,
    netns::{NetRef, PernetRegistration},
    selftest::FAULTS,
    slab::SlabCacheGuard,
    table::Node,
};
use kernel::{prelude::*, sync::Arc, uaccess::UserSliceWriter};
use shared::{Item, Shared};
use surroundings::{Events, Surroundings};

/// The first ioctl's number.
const COMMAND: u32 = 0x7e00;

/// What something has found, or what is wrong.
type Found = Result<usize, &'static str>;

/// A test, with the caller's argument.
type Test = fn(&File, usize) -> Found;

/// All tests, in the order of their numbers; the faults follow.
const TESTS: &[(&str, &[(&str, Test)])] = &[
    ("case", packets::CASES),
    ("case", objects::CASES),
    ("shared", shared::TESTS),
    ("script", surroundings::TESTS),
];

fn tests() -> impl Iterator<Item = (&'static str, &'static str, Test)> {
    let all = TESTS.iter();
    all.flat_map(|(kind, tests)| tests.iter().map(|(name, test)| (*kind, *name, *test)))
}

/// An open file.
struct File {
    shared: Pin<KBox<Shared>>,
    surroundings: Arc<Surroundings>,
    net: NetRef,
}

impl ControlFile for File {
    fn open() -> Result<KBox<Self>> {
        let net = NetRef::current();
        if !net.current_is_admin() {
            return Err(EPERM);
        }
        let surroundings = PernetRegistration::<Surroundings>::get(&net).ok_or(ENODEV)?;
        let shared = KBox::try_pin_init(Shared::new(), GFP_KERNEL)?;
        let file = Self {
            shared,
            surroundings,
            net,
        };
        Ok(KBox::new(file, GFP_KERNEL)?)
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result<isize> {
        let number = command.checked_sub(COMMAND).ok_or(ENOTTY)? as usize;
        if let Some((kind, name, test)) = tests().nth(number) {
            return report(kind, name, test(self, argument));
        }
        let fault = number.checked_sub(tests().count()).ok_or(ENOTTY)?;
        let (name, commit) = FAULTS.get(fault).ok_or(ENOTTY)?;
        pr_info!("selftest: fault {name}\n");
        commit();
        Ok(0)
    }

    fn read(&self, to: &mut UserSliceWriter, _may_wait: bool) -> Result<usize> {
        let before = to.len();
        let faults = FAULTS.iter().map(|(name, _)| ("fault", *name));
        let tests = tests().map(|(kind, name, _)| (kind, name));
        for (kind, name) in Iterator::chain(tests, faults) {
            for part in [kind, " ", name, "\n"] {
                to.write_slice(part.as_bytes())?;
            }
        }
        Ok(before.saturating_sub(to.len()))
    }

    fn poll(&self, _waiting: &Waiting<'_>) -> bool {
        true
    }
}

fn report(kind: &str, name: &str, found: Found) -> Result<isize> {
    match found {
        Ok(found) => {
            if kind == "case" {
                pr_info!("selftest: {name} ok\n");
            }
            isize::try_from(found).map_err(|_| EOVERFLOW)
        }
        Err(why) => {
            pr_err!("selftest: {name} FAILED {why}\n");
            Err(EIO)
        }
    }
}

/// An error with its number, for whoever reads the log.
fn because(what: &'static str, error: Error) -> &'static str {
    pr_err!("selftest: {what}: {error:?}\n");
    what
}

/// What `condition` is wrong with.
fn check(condition: bool, why: &'static str) -> Result<(), &'static str> {
    condition.then_some(()).ok_or(why)
}

/// The registered device. Fields are dropped in this order: callers, events, namespaces, memory.
pub(crate) struct Registered {
    _device: Pin<KBox<ControlDevice<File>>>,
    _events: Pin<KBox<DeviceNotifier<Events>>>,
    _namespaces: Pin<KBox<PernetRegistration<Surroundings>>>,
    _slab: SlabCacheGuard<Node<Item>>,
}

impl Registered {
    /// Sleeps.
    pub(crate) fn create(module: &'static ThisModule) -> Result<Self> {
        let _slab = shared::SLAB.create(c"fep_selftest")?;
        let _namespaces = KBox::try_pin_init(PernetRegistration::register(), GFP_KERNEL)?;
        let _events = KBox::try_pin_init(DeviceNotifier::register(), GFP_KERNEL)?;
        let device = ControlDevice::register(c"fep_selftest", 0o600, module);
        Ok(Self {
            _device: KBox::try_pin_init(device, GFP_KERNEL)?,
            _events,
            _namespaces,
            _slab,
        })
    }
}
