// SPDX-License-Identifier: GPL-2.0

//! The example of the manual is a configuration, and says what the manual says of it.

use std::path::Path;
use std::time::Duration;

use fep_config::{Config, Kind};

#[test]
fn the_example_of_the_manual_is_taken() {
    let manual = include_str!("../../../docs/fep-toml.md");
    let (_, rest) = manual.split_once("```toml\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    let config =
        Config::parse(Path::new("example"), example).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.limit, Some(1_048_576));
    assert_eq!((config.nodes.len(), config.services.len()), (2, 1));
    let service = &config.services[0];
    assert_eq!(service.key.to_string(), "tcp/192.0.2.10:80");
    assert_eq!(service.members[0].weight, 2);
    assert_eq!(service.members[1].addr.to_string(), "10.0.0.12:8080");
    assert_eq!(
        service.sorry.map(|sorry| sorry.to_string()),
        Some("10.0.0.99:80".to_owned())
    );
    assert_eq!(service.health.interval, Duration::from_millis(800));
    assert!(matches!(service.checks[0].kind, Kind::Http(_)));
}
