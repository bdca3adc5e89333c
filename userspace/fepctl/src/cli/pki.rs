// SPDX-License-Identifier: GPL-2.0

//! The verbs of certificates.

use std::path::PathBuf;

use clap::Subcommand;

/// Longest time that a certificate may be good for, in days: a hundred years.
const DAYS_MAX: i64 = 36_500;

/// Verbs of certificates.
#[derive(Debug, Subcommand)]
pub enum Pki {
    /// Make a private authority: ca.pem and ca.key in a directory
    Init {
        /// The directory; it is made if it is not there
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Days until it ends
        #[arg(long, value_name = "N", default_value = "3650", value_parser = clap::value_parser!(i64).range(1..=DAYS_MAX))]
        days: i64,
    },
    /// Make the certificate of a node or front-end: NAME.pem and NAME.key beside the authority
    Issue {
        /// The directory of the authority
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// The name: letters, digits, hyphens and dots, as of a host
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,
        /// Days until it ends; not after the authority
        #[arg(long, value_name = "N", default_value = "825", value_parser = clap::value_parser!(i64).range(1..=DAYS_MAX))]
        days: i64,
    },
    /// Show whom certificates are for and when they end
    Show {
        /// The certificates, PEM
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
}

/// A name as of a host; `ca` is the authority's files'.
fn name(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 64 || !text.split('.').all(label) {
        return Err(
            "not a name as of a host (at most 64 letters, digits, hyphens and dots)".to_owned(),
        );
    }
    if text.eq_ignore_ascii_case("ca") {
        return Err("ca is the name of the authority's own files".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hosts() {
        assert_eq!(name("Node-1.example"), Ok("node-1.example".to_owned()));
        for text in [
            "", ".", "a..b", "../x", "a/b", "-a", "a-", "a b", "ca", "CA", "*.a",
        ] {
            assert!(name(text).is_err(), "{text}");
        }
        assert!(name(&"a".repeat(64)).is_err());
    }
}
