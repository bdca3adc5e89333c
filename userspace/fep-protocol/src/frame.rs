// SPDX-License-Identifier: GPL-2.0

//! Frames: a length of four bytes, most significant first, and so many bytes of JSON.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::Error;

/// Largest frame, in bytes without its length: 4,096 connections, or a report of 1,000 processes.
pub const FRAME_MAX: usize = 1 << 20;
/// Largest frame until both ends have said hello, in bytes without its length.
pub const HELLO_MAX: usize = 4096;
/// The other end of a link must take a message within this time, in which it may be stopped for a while.
pub const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Memory is taken for a frame in pieces of so many bytes, as they come.
const PIECE: usize = 16 << 10;

/// Makes the frame of a message.
///
/// # Errors
///
/// [`Error::TooLarge`] when it has more than `max` bytes.
pub fn encode(message: &impl Serialize, max: usize) -> Result<Vec<u8>, Error> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).map_err(Error::Malformed)?;
    let size = frame.len() - 4;
    match u32::try_from(size) {
        Ok(length) if size <= max => frame[..4].copy_from_slice(&length.to_be_bytes()),
        _ => return Err(Error::TooLarge { size, max }),
    }
    Ok(frame)
}

/// Writes a message.
///
/// # Errors
///
/// As [`encode`], and [`Error::Io`].
pub async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    max: usize,
) -> Result<(), Error> {
    to.write_all(&encode(message, max)?).await?;
    Ok(to.flush().await?)
}

/// Writes a message to an end that must take it within `limit`. After an error the link cannot be used.
///
/// # Errors
///
/// As [`write()`], and [`Error::TooSlow`].
pub async fn write_within(
    to: &mut (impl AsyncWrite + Unpin),
    message: &impl Serialize,
    max: usize,
    limit: Duration,
) -> Result<(), Error> {
    tokio::time::timeout(limit, write(to, message, max))
        .await
        .map_err(|_| Error::TooSlow {
            what: "room for a message",
            ms: limit.as_millis(),
        })?
}

/// Reads a message; none when the other end has closed between two. A length above `max` is refused
/// before any memory is taken for it, and one that is only promised costs no more than a piece.
///
/// # Errors
///
/// [`Error::TooLarge`], [`Error::Malformed`] and [`Error::Io`]; the link cannot be used after any.
pub async fn read<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> Result<Option<T>, Error> {
    let mut length = [0; 4];
    if from.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[1..]).await?;
    let size = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if size > max {
        return Err(Error::TooLarge { size, max });
    }
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let start = bytes.len();
        bytes.resize(size.min(start + PIECE), 0);
        from.read_exact(&mut bytes[start..]).await?;
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(Error::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::ToAgent;

    fn read_now(bytes: &[u8], max: usize) -> Result<Option<ToAgent>, Error> {
        let mut bytes = bytes;
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(read(&mut bytes, max))
    }

    #[test]
    fn a_frame_comes_back() {
        let message = ToAgent::ReportEvery { ms: 7 };
        let frame = encode(&message, FRAME_MAX).unwrap();
        assert_eq!(read_now(&frame, FRAME_MAX).unwrap(), Some(message));
        assert_eq!(read_now(&[], FRAME_MAX).unwrap(), None);
    }

    #[test]
    fn the_limit_is_exact() {
        let message = ToAgent::ReportEvery { ms: 7 };
        let frame = encode(&message, FRAME_MAX).unwrap();
        let size = frame.len() - 4;
        assert!(encode(&message, size).is_ok());
        assert!(read_now(&frame, size).is_ok());
        for refused in [
            encode(&message, size - 1).map(|_| None),
            read_now(&frame, size - 1),
        ] {
            assert!(
                matches!(refused, Err(Error::TooLarge { size: s, max }) if s == size && max == size - 1)
            );
        }
    }

    #[test]
    fn a_promised_length_is_refused_without_its_bytes() {
        assert!(matches!(
            read_now(&[255; 4], FRAME_MAX),
            Err(Error::TooLarge { .. })
        ));
    }

    #[test]
    fn an_end_that_takes_nothing_is_given_up() {
        let written = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(async {
                let (mut near, _far) = tokio::io::duplex(4);
                let message = ToAgent::ReportEvery { ms: 7 };
                write_within(&mut near, &message, FRAME_MAX, Duration::from_millis(20)).await
            });
        assert!(matches!(written, Err(Error::TooSlow { ms: 20, .. })));
    }

    #[test]
    fn deep_nesting_is_malformed() {
        let body = [b"{\"type\":".as_slice(), &[b'['; 3000]].concat();
        let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        frame.extend(body);
        assert!(matches!(
            read_now(&frame, FRAME_MAX),
            Err(Error::Malformed(_))
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_now(&bytes, 64);
            let mut frame = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            frame.extend(bytes);
            let _ = read_now(&frame, FRAME_MAX);
        }
    }
}
