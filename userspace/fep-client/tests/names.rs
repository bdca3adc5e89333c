// SPDX-License-Identifier: GPL-2.0

//! Any name is read back from its own text, and crosses the kernel boundary and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_client::{Method, NodeAddr, NodePattern, NodeSpec, Protocol, ServiceKey};
use fep_uapi::{Endpoint, ServiceId};
use proptest::prelude::*;

/// Any address, with many that have runs of zeros or are special.
fn address() -> impl Strategy<Value = IpAddr> {
    let field = prop_oneof![Just(0u16), 0..3u16, any::<u16>()];
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        prop::array::uniform8(field).prop_map(|fields| IpAddr::V6(Ipv6Addr::from(fields))),
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).to_ipv6_mapped().into()),
    ]
}

fn node() -> impl Strategy<Value = NodeAddr> {
    (address(), 1..=u16::MAX).prop_map(|(address, port)| NodeAddr { address, port })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn services(tcp in any::<bool>(), node in node()) {
        let key = ServiceKey {
            protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
            address: node.address,
            port: node.port,
        };
        let text = key.to_string();
        prop_assert_eq!(text.parse(), Ok(key));
        prop_assert_eq!(serde_json::to_value(key).unwrap(), serde_json::json!(text));
        prop_assert_eq!(serde_json::from_value::<ServiceKey>(serde_json::json!(text)).unwrap(), key);
        prop_assert_eq!(ServiceKey::try_from(&ServiceId::from(key)).unwrap(), key);
    }

    #[test]
    fn nodes(node in node()) {
        let text = node.to_string();
        prop_assert_eq!(text.parse(), Ok(node));
        prop_assert_eq!(text.parse(), Ok(NodePattern::from(node)));
        prop_assert!(NodeSpec::new_node(&text).is_ok());
        prop_assert_eq!(NodeAddr::try_from(&Endpoint::from(node)).unwrap(), node);
    }

    #[test]
    fn nodes_on_every_port(address in address()) {
        let pattern = NodePattern { address, port: None };
        let text = pattern.to_string();
        prop_assert_eq!(text.parse(), Ok(pattern));
        if address.is_ipv6() {
            let in_brackets = format!("[{text}]");
            prop_assert_eq!(in_brackets.parse(), Ok(pattern));
            prop_assert!(NodeSpec::new_node(&in_brackets).is_ok());
            // Not a node, and not half of it either.
            prop_assert!(text.parse::<NodeAddr>().is_err());
        }
    }

    #[test]
    fn methods(code in any::<u32>()) {
        for method in [Method::from_code(code), Method::from_code(code % 4)] {
            prop_assert_eq!(method.to_string().parse(), Ok(method));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[tud/]{0,4}[\\[\\]0-9a-f:.%]{0,24}") {
        // What is read is shown in a way that is read to the same.
        if let Ok(key) = text.parse::<ServiceKey>() {
            prop_assert_eq!(key.to_string().parse(), Ok(key));
        }
        if let Ok(node) = text.parse::<NodePattern>() {
            prop_assert_eq!(node.to_string().parse(), Ok(node));
        }
    }
}
