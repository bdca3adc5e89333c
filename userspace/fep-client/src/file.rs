// SPDX-License-Identifier: GPL-2.0

//! Configuration files: TOML or JSON in, TOML out.
//!
//! Both formats become the same tree of values that know where they are in the text, so that every
//! mistake has a line and a column, even one that only the kernel finds.

mod de;
mod json;
mod toml;
mod tree;
mod write;

use std::fmt;

use serde::Deserialize;

use crate::config::{Config, Place};
use crate::text::Printable;
use tree::Node;

pub use write::to_toml;

/// What some editors write before a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A configuration and the text that it comes from.
#[derive(Debug)]
pub struct Document {
    /// The configuration. Nothing is in it twice.
    pub config: Config,
    text: String,
    tree: Node,
}

/// A place in a text. Both count from 1; a column is a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {}", Printable(.message))]
pub struct FileError {
    /// Where.
    pub position: Position,
    /// What.
    pub message: String,
}

/// What is wrong, at an offset into the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    offset: Option<usize>,
    message: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Position {
    /// The position of a byte of a text.
    fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: line.chars().count() + 1,
        }
    }
}

impl Mistake {
    fn at(offset: usize, message: impl Into<String>) -> Self {
        Self {
            offset: Some(offset),
            message: message.into(),
        }
    }

    /// With a place, where it has none yet.
    fn or_at(mut self, offset: usize) -> Self {
        self.offset.get_or_insert(offset);
        self
    }
}

impl Document {
    /// Reads a configuration: JSON where the text begins with a brace, else TOML. A byte order mark
    /// before it means nothing, and is not counted as a column.
    ///
    /// # Errors
    ///
    /// The first mistake in it.
    pub fn parse(mut text: String) -> Result<Self, FileError> {
        if text.starts_with(BYTE_ORDER_MARK) {
            text.remove(0);
        }
        let parsed = Self::read(&text);
        match parsed {
            Ok((config, tree)) => Ok(Self { config, text, tree }),
            Err(mistake) => Err(FileError {
                position: Position::of(&text, mistake.offset.unwrap_or(0)),
                message: mistake.message,
            }),
        }
    }

    fn read(text: &str) -> Result<(Config, Node), Mistake> {
        let tree = if text.trim_start().starts_with('{') {
            json::parse(text)?
        } else {
            toml::parse(text)?
        };
        let config = Config::deserialize(&tree)?;
        match config.check_unique() {
            Ok(()) => Ok((config, tree)),
            Err(duplicate) => {
                let offset = locate(&tree, duplicate.place).map_or(0, |node| node.start);
                Err(Mistake::at(offset, duplicate.to_string()))
            }
        }
    }

    /// Where in the text something of the configuration is: the value that the keys lead to from
    /// the place, as far as they are in the text.
    pub fn position(&self, place: Place, keys: &[&str]) -> Option<Position> {
        let mut node = locate(&self.tree, place)?;
        for inner in keys {
            node = node.get(inner).unwrap_or(node);
        }
        Some(Position::of(&self.text, node.start))
    }
}

/// The value at a place.
fn locate(tree: &Node, place: Place) -> Option<&Node> {
    match place {
        Place::Device(device) => tree.get("devices")?.index(device),
        Place::Limit => tree.get("limit"),
        Place::Service(service) => tree.get("services")?.index(service),
        Place::Backend(service, backend) => {
            let service = tree.get("services")?.index(service)?;
            service.get("backends")?.index(backend)
        }
    }
}
