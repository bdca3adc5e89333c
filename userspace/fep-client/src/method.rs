// SPDX-License-Identifier: GPL-2.0

//! How packets reach a back-end node.

use std::fmt;
use std::str::FromStr;

use fep_uapi::Method as Known;

use crate::name::from_text;

/// How packets reach a back-end node.
///
/// A method that only a newer module knows has no name here but its number. It is shown and kept as
/// it is, so that a configuration with it is read, written and left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Method(u32);

/// No method is called so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such method (there are nat and dr)")]
pub struct UnknownMethod;

impl Method {
    /// Translation of addresses and ports.
    pub const NAT: Self = Self(Known::Nat.code());
    /// Direct routing: the packet stays as it is.
    pub const DR: Self = Self(Known::Dr.code());

    /// The method of the kernel's code.
    pub const fn from_code(code: u32) -> Self {
        Self(code)
    }

    /// The kernel's code.
    pub const fn code(self) -> u32 {
        self.0
    }

    /// Whether it is the one that is meant where none is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::NAT
    }
}

impl From<Known> for Method {
    fn from(known: Known) -> Self {
        Self(known.code())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Known::from_code(self.0) {
            Some(known) => f.pad(known.name()),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, UnknownMethod> {
        let mut known = Known::ALL.iter();
        if let Some(known) = known.find(|known| known.name() == text) {
            return Ok((*known).into());
        }
        // In one form only, and not where there is a name.
        let method = text.parse().map(Self).map_err(|_| UnknownMethod)?;
        if method.to_string() == text {
            Ok(method)
        } else {
            Err(UnknownMethod)
        }
    }
}

impl serde::Serialize for Method {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

from_text! {
    Method: "a method: \"nat\" or \"dr\"",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_have_names_and_newer_ones_numbers() {
        for (text, method) in [
            ("nat", Method::NAT),
            ("dr", Method::DR),
            ("7", Method::from_code(7)),
        ] {
            assert_eq!(text.parse(), Ok(method));
            assert_eq!(method.to_string(), text);
        }
        for text in [
            "",
            "NAT",
            "0",
            "1",
            "07",
            "+7",
            "-7",
            "tunnel",
            "4294967296",
        ] {
            assert_eq!(text.parse::<Method>(), Err(UnknownMethod), "{text}");
        }
        assert_eq!(Method::default(), Method::NAT);
    }
}
