// SPDX-License-Identifier: GPL-2.0

//! Lines of JSON, of a bounded length.

use std::io::{self, BufRead};

use serde::de::DeserializeOwned;
use serde::Serialize;

/// Makes a line; none when it is longer than `max` bytes with its end.
pub(crate) fn encode(message: &impl Serialize, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok((line.len() <= max).then_some(line))
}

/// What came in the place of a line.
#[derive(Debug)]
pub(crate) enum Bad {
    /// The other end closed.
    Closed,
    /// It is too long.
    TooLong,
    /// It is not what it should be.
    Malformed(serde_json::Error),
    /// It could not be read.
    Io(io::Error),
}

/// Reads a line of at most `max` bytes with its end.
pub(crate) fn read<T: DeserializeOwned>(from: &mut impl BufRead, max: usize) -> Result<T, Bad> {
    let mut line = Vec::new();
    let mut bounded = io::Read::take(from, u64::try_from(max).unwrap_or(u64::MAX));
    bounded.read_until(b'\n', &mut line).map_err(Bad::Io)?;
    decode(&line, max)
}

/// Takes what was read up to the end of a line, to `max` bytes, or to the end of all.
pub(crate) fn decode<T: DeserializeOwned>(line: &[u8], max: usize) -> Result<T, Bad> {
    match line.last() {
        Some(b'\n') => serde_json::from_slice(line).map_err(Bad::Malformed),
        _ if line.len() >= max => Err(Bad::TooLong),
        _ => Err(Bad::Closed),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Request;

    fn read_now(bytes: &[u8], max: usize) -> Result<Request, Bad> {
        read(&mut &*bytes, max)
    }

    #[test]
    fn the_limit_is_exact() {
        let line = encode(&Request::Reload, 100).unwrap().unwrap();
        assert_eq!(line, b"{\"request\":\"reload\"}\n");
        let size = line.len();
        assert!(encode(&Request::Reload, size).unwrap().is_some());
        assert!(encode(&Request::Reload, size - 1).unwrap().is_none());
        assert_eq!(read_now(&line, size).unwrap(), Request::Reload);
        assert!(matches!(read_now(&line, size - 1), Err(Bad::TooLong)));
    }

    #[test]
    fn half_a_line_is_none() {
        assert!(matches!(read_now(b"", 9), Err(Bad::Closed)));
        assert!(matches!(read_now(b"{\"req", 9), Err(Bad::Closed)));
        assert!(matches!(read_now(b"{}\n", 9), Err(Bad::Malformed(_))));
        let nested = [b"[".repeat(5000), b"\n".to_vec()].concat();
        assert!(matches!(read_now(&nested, 9000), Err(Bad::Malformed(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_now(&bytes, 64);
        }
    }
}
