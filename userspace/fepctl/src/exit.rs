// SPDX-License-Identifier: GPL-2.0

//! How fepctl ends, as a number.

use fep_client::{Error, Refusal};
use fep_uapi::Reason;
use nix::errno::Errno;

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or nothing to do.
    Ok = 0,
    /// The kernel refused it by one of its rules; nothing has changed.
    Refused = 1,
    /// The command line or a file makes no sense; nothing has changed.
    BadInput = 2,
    /// The service, backend or device is not there.
    NotThere = 3,
    /// It is there already.
    AlreadyThere = 4,
    /// The caller may not do this.
    NotPermitted = 5,
    /// The module is not loaded.
    NotLoaded = 6,
    /// An error of input, output, the kernel or fepctl itself.
    Internal = 7,
    /// fepd does not run.
    NoDaemon = 8,
    /// What was waited for was not done in the time that it had.
    NotInTime = 9,
}

impl Exit {
    /// Every code.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Refused,
        Self::BadInput,
        Self::NotThere,
        Self::AlreadyThere,
        Self::NotPermitted,
        Self::NotLoaded,
        Self::Internal,
        Self::NoDaemon,
        Self::NotInTime,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it means, in one line.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "done, or nothing to do",
            Self::Refused => "the kernel, or fepd, refused it by one of its rules",
            Self::BadInput => "usage, or bad input (command line, file)",
            Self::NotThere => "the service, backend, device, node, group or process is not there",
            Self::AlreadyThere => "it is there already",
            Self::NotPermitted => "not permitted (CAP_NET_ADMIN is needed; root for fepd)",
            Self::NotLoaded => "the module is not loaded",
            Self::Internal => "input/output or internal error",
            Self::NoDaemon => "fepd is not running",
            Self::NotInTime => "not done in the time there was; fepd goes on with it",
        }
    }

    /// The code of an error.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::NotLoaded { .. } => Self::NotLoaded,
            Error::NotPermitted { .. } => Self::NotPermitted,
            Error::NotADevice { .. } => Self::BadInput,
            Error::Refused(refusal) => Self::of_refusal(refusal),
            Error::KeepsChanging { .. } => Self::Refused,
            Error::NoSuchService(_) | Error::NoSuchBackend { .. } => Self::NotThere,
            _ => Self::Internal,
        }
    }

    fn of_refusal(refusal: &Refusal) -> Self {
        match refusal.reason {
            Some(
                Reason::NoSuchService
                | Reason::NoSuchBackend
                | Reason::NoSuchDevice
                | Reason::DeviceNotAttached,
            ) => Self::NotThere,
            Some(Reason::ServiceExists | Reason::BackendExists | Reason::DeviceAttached) => {
                Self::AlreadyThere
            }
            Some(Reason::LimitNotPermitted) => Self::NotPermitted,
            Some(Reason::NoMemory | Reason::NamespaceGone | Reason::Interrupted) => Self::Internal,
            Some(Reason::None) | None => match Errno::from_raw(refusal.errno) {
                Errno::ENOENT | Errno::ENODEV => Self::NotThere,
                Errno::EEXIST => Self::AlreadyThere,
                _ => Self::Refused,
            },
            Some(_) => Self::Refused,
        }
    }
}

/// The name for programs of what went wrong.
pub(crate) fn reason(error: &Error) -> &'static str {
    match error {
        Error::NotLoaded { .. } => "not_loaded",
        Error::NotPermitted { .. } => "not_permitted",
        Error::NotADevice { .. } => "not_a_device",
        Error::UnknownCommand { .. } | Error::AbiVersion { .. } => "abi_mismatch",
        Error::Refused(refusal) => refusal.reason_name(),
        Error::KeepsChanging { .. } => Reason::GenerationChanged.name(),
        Error::NoSuchService(_) => Reason::NoSuchService.name(),
        Error::NoSuchBackend { .. } => Reason::NoSuchBackend.name(),
        Error::Garbled { .. } => "garbled",
        _ => "io",
    }
}

/// The table of the exit codes for the help text.
pub(crate) fn help() -> String {
    let lines = Exit::ALL.map(|exit| format!("  {}  {}", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_their_places() {
        for (code, exit) in (0..).zip(Exit::ALL) {
            assert_eq!(exit.code(), code);
        }
    }

    #[test]
    fn the_manual_lists_every_code() {
        let manual = include_str!("../../../docs/fepctl.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(manual.contains(&row), "docs/fepctl.md lacks: {row}");
        }
    }
}
