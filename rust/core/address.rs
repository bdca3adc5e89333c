// SPDX-License-Identifier: GPL-2.0

//! Kinds of IPv4 address, as far as the filter tells them apart.

/// Whether an address can be that of more than one host: multicast (RFC 5771, 224.0.0.0/4) or the
/// limited broadcast (RFC 919, 255.255.255.255).
///
/// The rest of 240.0.0.0/4 is unicast here, as it is for Linux.
#[inline]
pub(crate) const fn is_group(address: u32) -> bool {
    address >> 28 == 0xe || address == u32::MAX
}

/// Whether an address names one host and may appear on a link (RFC 1122, 3.2.1.3): neither a group,
/// nor "this network" (0.0.0.0/8), nor loopback (127.0.0.0/8).
#[inline]
pub(crate) const fn is_unicast_host(address: u32) -> bool {
    let network = address >> 24;
    !is_group(address) && network != 0 && network != 127
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ip(bytes: [u8; 4]) -> u32 {
        u32::from_be_bytes(bytes)
    }

    #[test]
    fn kinds_of_address() {
        for (bytes, group, unicast) in [
            ([0, 0, 0, 0], false, false),
            ([0, 255, 255, 255], false, false),
            ([1, 0, 0, 0], false, true),
            ([10, 0, 0, 1], false, true),
            ([126, 255, 255, 255], false, true),
            ([127, 0, 0, 0], false, false),
            ([127, 255, 255, 255], false, false),
            ([128, 0, 0, 0], false, true),
            ([223, 255, 255, 255], false, true),
            ([224, 0, 0, 0], true, false),
            ([239, 255, 255, 255], true, false),
            ([240, 0, 0, 0], false, true),
            ([255, 255, 255, 254], false, true),
            ([255, 255, 255, 255], true, false),
        ] {
            assert_eq!(is_group(ip(bytes)), group, "{bytes:?}");
            assert_eq!(is_unicast_host(ip(bytes)), unicast, "{bytes:?}");
        }
    }
}
