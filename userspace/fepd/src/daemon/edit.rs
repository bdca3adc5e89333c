// SPDX-License-Identifier: GPL-2.0

//! Changes of the configuration file that an administrator asks for: its comments and its order stay.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use fep_config::Config;
use fep_operator::{Reason, Request};
use toml_edit::{value, ArrayOfTables, DocumentMut, Item, Table};

type Refused = (Reason, String);

/// A file as it would be.
pub(super) struct Edit {
    file: PathBuf,
    text: String,
    /// What it says.
    pub(super) config: Config,
}

impl Edit {
    /// What a request makes of a file. Nothing is written.
    pub(super) fn of(file: &Path, request: &Request) -> Result<Self, Refused> {
        let other =
            |error: &dyn std::fmt::Display| (Reason::Other, format!("{}: {error}", file.display()));
        let text = fs::read_to_string(file).map_err(|error| other(&error))?;
        let mut document: DocumentMut = text.parse().map_err(|error| other(&error))?;
        change(&mut document, request)?;
        let text = document.to_string();
        let config =
            Config::parse(file, &text).map_err(|error| (Reason::BadInput, error.to_string()))?;
        Ok(Self {
            file: file.to_owned(),
            text,
            config,
        })
    }

    /// Writes the file, whole or not at all, with the rights that it had.
    pub(super) fn write(&self) -> Result<(), String> {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", self.file.display());
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        let rights = fs::metadata(&self.file)
            .map_err(|error| said(&error))?
            .permissions();
        let mut new = tempfile::NamedTempFile::new_in(folder).map_err(|error| said(&error))?;
        new.write_all(self.text.as_bytes())
            .map_err(|error| said(&error))?;
        new.as_file()
            .set_permissions(rights)
            .map_err(|error| said(&error))?;
        new.as_file().sync_all().map_err(|error| said(&error))?;
        new.persist(&self.file)
            .map_err(|error| said(&error.error))?;
        Ok(())
    }
}

fn change(document: &mut DocumentMut, request: &Request) -> Result<(), Refused> {
    match request {
        Request::NodeAdd {
            node,
            address,
            agent,
            agent_port,
            priority,
        } => {
            let nodes = tables(document.as_table_mut(), "node")?;
            let mut table = Table::new();
            table["name"] = value(node);
            table["address"] = value(address.to_string());
            if *agent {
                table["agent"] = value(true);
            }
            if let Some(port) = agent_port {
                table["agent_port"] = value(i64::from(*port));
            }
            if *priority != 0 {
                table["priority"] = value(i64::from(*priority));
            }
            nodes.push(table);
        }
        Request::NodeDel { node } => {
            let nodes = tables(document.as_table_mut(), "node")?;
            let at = place(nodes, "name", node)
                .ok_or_else(|| (Reason::NotThere, format!("there is no node {node}")))?;
            nodes.remove(at);
        }
        Request::Assign {
            service,
            node,
            port,
            weight,
            priority,
            method,
        } => {
            let members = tables(self::service(document, service)?, "node")?;
            if place(members, "name", node).is_some() {
                return Err((
                    Reason::AlreadyThere,
                    format!("{node} is a node of {service} already"),
                ));
            }
            let mut table = Table::new();
            table["name"] = value(node);
            if let Some(port) = port {
                table["port"] = value(i64::from(*port));
            }
            table["weight"] = value(i64::from(*weight));
            if let Some(priority) = priority {
                table["priority"] = value(i64::from(*priority));
            }
            if method != "nat" {
                table["method"] = value(method);
            }
            members.push(table);
        }
        Request::Unassign { service, node } => {
            let members = tables(self::service(document, service)?, "node")?;
            let at = place(members, "name", node).ok_or_else(|| none(service, node))?;
            members.remove(at);
        }
        Request::Weight {
            service,
            node,
            weight,
        } => {
            let members = tables(self::service(document, service)?, "node")?;
            let at = place(members, "name", node).ok_or_else(|| none(service, node))?;
            if let Some(member) = members.get_mut(at) {
                member["weight"] = value(i64::from(*weight));
            }
        }
        _ => {
            return Err((
                Reason::Unsupported,
                "fepd does not know such a request".to_owned(),
            ))
        }
    }
    Ok(())
}

fn none(service: &str, node: &str) -> Refused {
    (Reason::NotThere, format!("{node} is no node of {service}"))
}

/// An array of tables, as `[[key]]` makes it.
fn tables<'a>(table: &'a mut Table, key: &str) -> Result<&'a mut ArrayOfTables, Refused> {
    let item = table
        .entry(key)
        .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    item.as_array_of_tables_mut().ok_or_else(|| {
        let text = format!("{key} is not written as [[{key}]] in the file: change it there");
        (Reason::Rule, text)
    })
}

fn place(tables: &ArrayOfTables, key: &str, name: &str) -> Option<usize> {
    let is = |table: &Table| table.get(key).and_then(Item::as_str) == Some(name);
    tables.iter().position(is)
}

fn service<'a>(document: &'a mut DocumentMut, key: &str) -> Result<&'a mut Table, Refused> {
    let services = tables(document.as_table_mut(), "service")?;
    let at = place(services, "key", key).ok_or_else(|| {
        (
            Reason::NotThere,
            format!("there is no service {key} in the file"),
        )
    })?;
    services
        .get_mut(at)
        .ok_or_else(|| (Reason::NotThere, format!("there is no service {key}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Ours.\n[[node]]\nname = \"a\" # the first\naddress = \"10.0.1.1\"\n\n[[service]]\nkey = \"tcp/10.0.0.1:80\"\n\n[[service.node]]\nname = \"a\"\n";

    /// The text that a request makes of FILE.
    fn made(request: &Request) -> Result<String, Refused> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("fep.toml");
        fs::write(&file, FILE).unwrap();
        let edit = Edit::of(&file, request)?;
        assert_eq!(fs::read_to_string(&file).unwrap(), FILE);
        edit.write().unwrap();
        Ok(fs::read_to_string(&file).unwrap())
    }

    fn add(node: &str, address: [u8; 4]) -> Request {
        Request::NodeAdd {
            node: node.to_owned(),
            address: address.into(),
            agent: false,
            agent_port: None,
            priority: 0,
        }
    }

    #[test]
    fn a_change_leaves_the_rest_of_the_file() {
        let text = made(&add("b", [10, 0, 1, 2])).unwrap();
        assert!(
            text.starts_with("# Ours.\n[[node]]\nname = \"a\" # the first\n"),
            "{text}"
        );
        assert!(
            text.contains("[[node]]\nname = \"b\"\naddress = \"10.0.1.2\"\n"),
            "{text}"
        );
        let weight = Request::Weight {
            service: "tcp/10.0.0.1:80".to_owned(),
            node: "a".to_owned(),
            weight: 0,
        };
        let text = made(&weight).unwrap();
        assert_eq!(text, format!("{FILE}weight = 0\n"));
        let unassign = Request::Unassign {
            service: "tcp/10.0.0.1:80".to_owned(),
            node: "a".to_owned(),
        };
        let text = made(&unassign).unwrap();
        assert!(!text.contains("service.node"), "{text}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let of = |request| made(&request).unwrap_err();
        let (reason, text) = of(add("a", [10, 0, 1, 9]));
        assert!(
            reason == Reason::BadInput && text.contains("there is another node a"),
            "{text}"
        );
        let (reason, text) = of(Request::NodeDel {
            node: "a".to_owned(),
        });
        assert!(
            reason == Reason::BadInput && text.contains("there is no node \"a\""),
            "{text}"
        );
        let (reason, _) = of(Request::NodeDel {
            node: "x".to_owned(),
        });
        assert_eq!(reason, Reason::NotThere);
        let assign = Request::Assign {
            service: "tcp/10.0.0.1:80".to_owned(),
            node: "a".to_owned(),
            port: None,
            weight: 1,
            priority: None,
            method: "nat".to_owned(),
        };
        assert_eq!(of(assign).0, Reason::AlreadyThere);
    }
}
