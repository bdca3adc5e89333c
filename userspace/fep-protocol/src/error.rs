// SPDX-License-Identifier: GPL-2.0

//! What can go wrong on a link.

use std::io;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection failed, or a TLS rule was broken.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame is too large.
    #[error("a message of {size} bytes ({max} at most)")]
    TooLarge {
        /// Its size, in bytes.
        size: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A frame is not a message.
    #[error("not a message of this protocol: {0}")]
    Malformed(serde_json::Error),
    /// The other end took too long.
    #[error("no {what} within {ms} ms")]
    TooSlow {
        /// What was waited for.
        what: &'static str,
        /// How long, in milliseconds.
        ms: u128,
    },
    /// The place of the other end was needed for one that came later.
    #[error("it had not said hello when its place was needed for another")]
    Crowded,
    /// The other end has a certificate of our authority, but not for a name that may be here.
    #[error("the certificate is for {found}, not for {wanted}")]
    WrongName {
        /// Its names.
        found: String,
        /// The names that may be here.
        wanted: String,
    },
    /// The other end closed the link, or said why it refuses.
    #[error("refused by the other end: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The other end said something that has no place here.
    #[error("expected {expected}, the other end sent something else")]
    OutOfPlace {
        /// What should have come.
        expected: &'static str,
    },
    /// No version is spoken by both ends.
    #[error(
        "the other end speaks protocol {min} to {max}, this one {} to {}",
        crate::VERSION_MIN,
        crate::VERSION_MAX
    )]
    Version {
        /// Its lowest version.
        min: u32,
        /// Its highest version.
        max: u32,
    },
    /// A certificate or key file cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Certificate, key and authority do not make an identity.
    #[error("certificates: {0}")]
    Certificates(String),
}
