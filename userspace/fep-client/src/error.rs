// SPDX-License-Identifier: GPL-2.0

//! What can go wrong between a program and the kernel.

use std::io;
use std::path::{Path, PathBuf};

use fep_uapi::{ABI_MAJOR, ABI_MINOR};
use nix::errno::Errno;

use crate::name::{NodePattern, ServiceKey};
use crate::refusal::Refusal;

/// An error of this crate. Its text is one sentence, without the cause of another text in it twice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The control device is not there.
    #[error("{}: no such device; is the module loaded? (modprobe fep)", path.display())]
    NotLoaded {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The control device cannot be opened.
    #[error("{}: {source}", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The path leads to something else.
    #[error("{}: not a character device, so not fep's", path.display())]
    NotADevice {
        /// The path.
        path: PathBuf,
    },
    /// The caller may not do this.
    #[error(
        "{what}: not permitted; it needs CAP_NET_ADMIN in this network namespace (run it as root)"
    )]
    NotPermitted {
        /// What it wanted to do.
        what: String,
    },
    /// The module does not know a command in our layout.
    #[error("the module speaks another ABI (it does not know the command \"{command}\" of ABI {ABI_MAJOR}.{ABI_MINOR}); use the fepctl and the fep.ko of one release")]
    UnknownCommand {
        /// The command.
        command: &'static str,
    },
    /// The module says that it speaks another version.
    #[error("the module speaks ABI {major}.{minor}, this program speaks ABI {ABI_MAJOR}.{ABI_MINOR}; use the fepctl and the fep.ko of one release")]
    AbiVersion {
        /// The module's major version.
        major: u32,
        /// The module's minor version.
        minor: u32,
    },
    /// The kernel refused a commit by one of its rules.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// The kernel's configuration changed each time before ours could be applied.
    #[error("the configuration changed {tries} times while this one was being applied; something else is changing it, nothing was applied")]
    KeepsChanging {
        /// How often it was tried.
        tries: u32,
    },
    /// A filter names a service that is not there.
    #[error("service {0}: there is no such service")]
    NoSuchService(ServiceKey),
    /// A filter names a node that is not there.
    #[error("{}", no_such_backend(.backend, .service.as_ref()))]
    NoSuchBackend {
        /// The node.
        backend: NodePattern,
        /// The service that was looked in, `None` for all.
        service: Option<ServiceKey>,
    },
    /// A command failed for a reason that is nobody's mistake.
    #[error("{command}: {source}")]
    Call {
        /// The command.
        command: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The kernel's answer makes no sense.
    #[error("the module answered with an unknown {what}: {value}")]
    Garbled {
        /// What is wrong in it.
        what: &'static str,
        /// Its value.
        value: u64,
    },
}

fn no_such_backend(backend: &NodePattern, service: Option<&ServiceKey>) -> String {
    let hint = backend.if_port();
    match service {
        Some(service) => format!("backend {backend} of {service}: there is no such backend{hint}"),
        None => format!("backend {backend}: no service has such a backend{hint}"),
    }
}

impl Error {
    pub(crate) fn garbled(what: &'static str, value: u64) -> Self {
        Self::Garbled { what, value }
    }

    pub(crate) fn from_open(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match errno(&source) {
            Errno::ENOENT | Errno::ENXIO | Errno::ENODEV => Self::NotLoaded { path },
            Errno::EACCES | Errno::EPERM => Self::NotPermitted {
                what: format!("opening {}", path.display()),
            },
            _ => Self::Open { path, source },
        }
    }

    pub(crate) fn from_call(command: &'static str, source: io::Error) -> Self {
        match errno(&source) {
            Errno::ENOTTY => Self::UnknownCommand { command },
            Errno::EACCES | Errno::EPERM => Self::NotPermitted {
                what: command.to_owned(),
            },
            _ => Self::Call { command, source },
        }
    }
}

/// The error number of an error, `UnknownErrno` where it has none.
pub(crate) fn errno(error: &io::Error) -> Errno {
    error
        .raw_os_error()
        .map_or(Errno::UnknownErrno, Errno::from_raw)
}
