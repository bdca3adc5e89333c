// SPDX-License-Identifier: GPL-2.0

//! `stats`: totals and rates.

mod common;

use common::{Place, A};
use fep_uapi::Traffic;

#[test]
fn stats_shows_totals() {
    let place = Place::with_web();
    place.kernel.with(|state| {
        state.entries[0].backends[0].traffic = Traffic {
            connections: 1,
            packets_in: 2,
            packets_out: 3,
            bytes_in: 4,
            bytes_out: 5,
        };
    });
    let text = place.run(&["stats"]).ok();
    let row = text.lines().find(|line| line.contains(A)).unwrap();
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        [A, "1", "2", "3", "4", "5"]
    );
    let json = place.run(&["stats", "--json"]).json();
    assert_eq!(
        json["services"][0]["backends"][0]["traffic"]["bytes_out"],
        5
    );
    assert_eq!(json["services"][0]["traffic"]["packets_out"], 3);
}

#[test]
fn watching_shows_rates_until_asked_to_stop() {
    let place = Place::with_web();
    let kernel = place.kernel.clone();
    let mut left = 2;
    let traffic = move || {
        kernel.with(|state| state.entries[0].backends[0].traffic.packets_in += 50);
        left -= 1;
        left >= 0
    };
    let text = place.run_with(&["stats", "--watch", "2"], "", traffic).ok();
    let rows: Vec<&str> = text.lines().filter(|line| line.contains(A)).collect();
    assert_eq!(rows.len(), 2, "{text}");
    assert_eq!(rows[0].split_whitespace().nth(2), Some("25"));
    assert!(
        !text.contains('\u{1b}'),
        "lines are appended where there is no terminal"
    );

    let once = place
        .run(&["stats", "--watch", "0.5", "--count", "1", "--json"])
        .json();
    assert_eq!(once["seconds"], 0.5);
    assert_eq!(
        once["services"][0]["backends"][0]["per_second"]["packets_in"],
        0.0
    );
}

#[test]
fn watching_redraws_a_terminal() {
    let mut place = Place::with_web();
    place.terminal = true;
    let text = place.run(&["stats", "--watch", "--count", "1"]).ok();
    assert!(text.starts_with("\u{1b}[H\u{1b}[2J"), "{text:?}");
}
