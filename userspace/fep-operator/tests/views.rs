// SPDX-License-Identifier: GPL-2.0

//! Metrics and the status page: read as a scraper and as a browser read them.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::full;
use fep_operator::{metrics, status_page, NodeState, Snapshot};
use proptest::prelude::*;

/// A sample: its metric, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(plain) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads the labels up to the brace that closes them; returns them and what follows.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut all = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("no label")?;
        if !is_name(name) {
            return Err(format!("{name} is no name"));
        }
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next().ok_or("no end of a label")? {
                (at, '"') => break at,
                (_, '\\') => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    other => return Err(format!("{other:?} is no escape")),
                },
                (_, c) => value.push(c),
            }
        };
        if all.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} is there twice"));
        }
        rest = &after[end + 1..];
        match rest.chars().next() {
            Some(',') => rest = &rest[1..],
            Some('}') => return Ok((all, &rest[1..])),
            other => return Err(format!("{other:?} after a label")),
        }
    }
}

/// Reads the text format of Prometheus, with its rules: HELP and TYPE before the samples of a
/// metric, all of them together, and no sample twice.
fn parse(text: &str) -> Result<Vec<Sample>, String> {
    if !text.ends_with('\n') {
        return Err("no end of the last line".to_owned());
    }
    let mut samples: Vec<Sample> = Vec::new();
    let (mut seen, mut helped, mut current) = (BTreeSet::new(), String::new(), String::new());
    for line in text.strip_suffix('\n').unwrap_or_default().split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split(' ').next().unwrap_or_default().to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').ok_or("no type")?;
            if name != helped || !is_name(name) || !seen.insert(name.to_owned()) {
                return Err(format!("{line}: not in order"));
            }
            let total = name.ends_with("_total");
            if !matches!((kind, total), ("gauge", false) | ("counter", true)) {
                return Err(format!("{line}: not the type of its name"));
            }
            current = name.to_owned();
        } else {
            let end = line.find(['{', ' ']).ok_or("no value")?;
            let (name, rest) = line.split_at(end);
            if name != current {
                return Err(format!("{line}: not with the others of {name}"));
            }
            let (labels, rest) = match rest.strip_prefix('{') {
                Some(rest) => labels(rest)?,
                None => (BTreeMap::new(), rest),
            };
            let value = rest.strip_prefix(' ').ok_or("no value")?;
            let value = value.parse().map_err(|_| format!("{line}: no number"))?;
            if samples.iter().any(|(n, l, _)| n == name && *l == labels) {
                return Err(format!("{line}: is there twice"));
            }
            samples.push((name.to_owned(), labels, value));
        }
    }
    Ok(samples)
}

#[track_caller]
fn value(samples: &[Sample], name: &str, label: Option<(&str, &str)>) -> f64 {
    let mut found = samples.iter().filter(|(metric, labels, _)| {
        metric == name
            && label.is_none_or(|(label, value)| labels.get(label).is_some_and(|v| v == value))
    });
    let (_, _, value) = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert!(found.next().is_none(), "{name} is there twice");
    *value
}

#[test]
fn metrics_say_what_the_snapshot_says() {
    let samples = parse(&metrics(&full("a"))).unwrap();
    for (name, wanted) in [
        ("fep_daemon_info", 1.0),
        ("fep_daemon_uptime_seconds", 90_061.5),
        ("fep_config_in_force", 0.0),
        ("fep_filter_in_sync", 0.0),
        ("fep_state_kept", 0.0),
        ("fep_generation", 12.0),
        ("fep_routes", 34.0),
        ("fep_routes_limit", 1_048_576.0),
        ("fep_node_routes", 17.0),
        ("fep_node_agent_up", 0.0),
        ("fep_node_load_ratio", 0.125),
        ("fep_service_routes", 18.0),
        ("fep_service_alarm", 1.0),
        ("fep_member_routes", 19.0),
        ("fep_member_weight", 4.0),
        ("fep_member_weight_now", 2.0),
        ("fep_member_share_asked", 0.333),
        ("fep_member_share_achieved", 0.34),
        ("fep_member_check_good", 0.0),
        ("fep_member_check_age_seconds", 0.04),
        ("fep_process_restarts_total", 5.0),
    ] {
        let found = value(&samples, name, None);
        assert!((found - wanted).abs() < 1e-9, "{name}: {found}");
    }
    for state in NodeState::ALL {
        let wanted = f64::from(u8::from(*state == NodeState::Partly));
        let found = value(&samples, "fep_node_state", Some(("state", state.name())));
        assert!((found - wanted).abs() < 1e-9, "{}", state.name());
    }
    let kept = value(&samples, "fep_service_nodes", Some(("state", "kept")));
    let starting = value(
        &samples,
        "fep_process_instances",
        Some(("state", "starting")),
    );
    assert!((kept - 1.0).abs() < 1e-9 && (starting - 1.0).abs() < 1e-9);
}

#[test]
fn metrics_of_nothing_are_metrics() {
    let samples = parse(&metrics(&Snapshot::default())).unwrap();
    assert!((value(&samples, "fep_config_in_force", None) - 1.0).abs() < 1e-9);
    assert!((value(&samples, "fep_filter_in_sync", None) - 1.0).abs() < 1e-9);
}

#[test]
fn the_reader_of_metrics_sees_mistakes() {
    for wrong in [
        "a 1",
        "a 1\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 2\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"c\" 1\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"c\"} x\n",
        "# HELP a x\n# TYPE a counter\na 1\n",
        "# TYPE a gauge\na 1\n",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

/// Reads a page as strictly as XML: every element is closed in its order, attributes are quoted,
/// references are known. Returns the elements and the text.
fn elements(page: &str) -> Result<(Vec<String>, String), String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").ok_or("no doctype")?;
    let (mut all, mut open, mut text) = (Vec::new(), Vec::new(), String::new());
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let end = rest[at..].find('>').ok_or("no end of a tag")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes what is not open"));
            }
            continue;
        }
        let name = tag.split(' ').next().unwrap_or_default();
        if !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            || name.is_empty()
        {
            return Err(format!("<{tag}> is no element"));
        }
        if tag.matches('"').count() % 2 != 0 {
            return Err(format!("<{tag}> has an open quote"));
        }
        all.push(tag.to_owned());
        if name == "style" {
            let end = rest.find("</style>").ok_or("no end of the style")?;
            rest = &rest[end + "</style>".len()..];
        } else if name != "meta" {
            open.push(name.to_owned());
        }
    }
    text.push_str(rest);
    if let Some(open) = open.pop() {
        return Err(format!("<{open}> is not closed"));
    }
    let mut plain = String::new();
    let mut pieces = text.split('&');
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (reference, rest) = piece.split_once(';').ok_or("an open reference")?;
        plain.push(match reference {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => return Err(format!("&{other}; is not known")),
        });
        plain.push_str(rest);
    }
    Ok((all, plain))
}

/// What the page of a text has of elements: the same whatever the text is.
fn skeleton(text: &str) -> (Vec<String>, String) {
    elements(&status_page(&full(text))).unwrap()
}

#[test]
fn the_page_shows_everything_and_needs_nothing() {
    let page = status_page(&full("a"));
    let (elements, text) = elements(&page).unwrap();
    for wanted in [
        "runs for 25 h",
        "34 of 1048576 routes",
        "partly: a",
        "silent",
        "12.5 %",
        "kept: a",
        "2 / 4",
        "33.3 %",
        "34.0 %",
        "failed: a",
        "starting: a",
        "20.0 %",
        "gets the next client",
        "The filter is not as it should be: a",
        "The state is not kept: a",
        "The configuration was refused: a",
    ] {
        assert!(text.contains(wanted), "{wanted}");
    }
    let known = [
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "table", "thead",
        "tbody", "tr", "th", "td", "span",
    ];
    for element in &elements {
        let name = element.split(' ').next().unwrap_or_default();
        assert!(known.contains(&name), "{element}");
        assert!(
            !element.contains("src=") && !element.contains("href="),
            "{element}"
        );
    }
    assert!(!page.contains("url(") && !page.contains("@import"));
    let empty = status_page(&Snapshot::default());
    assert!(empty.len() < 4096, "{} bytes", empty.len());
}

#[test]
fn the_reader_of_pages_sees_mistakes() {
    for wrong in [
        "<html></html>",
        "<!DOCTYPE html>\n<html>",
        "<!DOCTYPE html>\n<html></body>",
        "<!DOCTYPE html>\n<p>&nbsp;</p>",
        "<!DOCTYPE html>\n<p>a & b</p>",
        "<!DOCTYPE html>\n<p class=\"x>y</p>",
        "<!DOCTYPE html>\n<P></P>",
    ] {
        assert!(elements(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn markup_stays_text() {
    let (plain, _) = skeleton("a");
    for hostile in [
        "<script>alert(1)</script>",
        "\" onload=\"x",
        "</td></table>",
        "&lt;",
        "'",
        "a\0b\u{1b}[2J",
    ] {
        let (elements, text) = skeleton(hostile);
        assert_eq!(elements, plain, "{hostile}");
        let shown = hostile.replace(['\0', '\u{1b}'], "\u{fffd}");
        assert!(text.contains(&shown), "{hostile}");
    }
}

proptest! {
    #[test]
    fn any_text_is_shown_and_changes_nothing_else(text in "\\PC{0,40}|[<>&\"'\\\\\n a-c]{0,20}") {
        prop_assert_eq!(skeleton(&text).0, skeleton("a").0);
        let samples = parse(&metrics(&full(&text))).map_err(TestCaseError::fail)?;
        let shown = value(&samples, "fep_daemon_info", Some(("version", &text)));
        prop_assert!((shown - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_snapshot_survives_its_line(text in ".{0,40}") {
        let snapshot = full(&text);
        let line = serde_json::to_string(&snapshot).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Snapshot>(&line).unwrap(), snapshot);
    }
}

#[test]
fn what_is_newer_or_older_is_read() {
    let read = |text: &str| serde_json::from_str::<Snapshot>(text).unwrap();
    assert_eq!(read("{}"), Snapshot::default());
    let newer = read("{\"later\":1,\"nodes\":[{\"name\":\"a\",\"state\":\"dancing\"}]}");
    assert_eq!(newer.nodes[0].state, NodeState::Unknown);
}

#[test]
fn the_manual_lists_every_metric() {
    let manual = include_str!("../../../docs/operator.md");
    let samples = parse(&metrics(&full("a"))).unwrap();
    for (name, labels, _) in samples {
        let mut rows = manual.lines().filter(|row| row.starts_with("| `fep_"));
        let row = rows.find(|row| row.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("docs/operator.md lacks {name}"));
        for label in labels.keys() {
            assert!(row.contains(&format!("`{label}`")), "{name}: {label}");
        }
    }
}
