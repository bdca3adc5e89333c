// SPDX-License-Identifier: GPL-2.0

//! A process that runs: the agent's child, or one that an agent before it has started.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{kill, killpg, Signal};
use nix::unistd::Pid;

use super::spec::Spec;

/// The variable that the mark is in.
const MARK: &str = "FEP_PROCESS";

/// A process that runs, and heads a process group of its own.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    pid: u32,
    start: u64,
    mark: String,
}

impl Running {
    /// Starts one.
    pub(crate) fn start(spec: &Spec, mark: &str) -> io::Result<Self> {
        let mut command = Command::new(&spec.command);
        command
            .args(&spec.args)
            .envs(&spec.env)
            .env(MARK, mark)
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0);
        if let Some((user, group)) = spec.user {
            command.uid(user).gid(group);
        }
        let child = command.spawn()?;
        let pid = child.id();
        // It is there until it is waited for.
        let start = stat(pid)?.start;
        Ok(Self {
            child: Some(child),
            pid,
            start,
            mark: mark.to_owned(),
        })
    }

    /// The one that was started before under this mark, when it still runs.
    pub(crate) fn find(mark: &str, known: Option<(u32, u64)>) -> io::Result<Option<Self>> {
        let same = |&(pid, start): &(u32, u64)| {
            stat(pid).is_ok_and(|found| found.start == start && !found.dead)
        };
        let (pid, start) = match known {
            Some(known) if same(&known) => known,
            Some(_) => return Ok(None),
            None => {
                let heads = marked(mark)?.into_iter().filter_map(|pid| {
                    let found = stat(pid).ok()?;
                    (found.group == pid && !found.dead).then_some((pid, found.start))
                });
                match heads.min_by_key(|&(_, start)| start) {
                    Some(found) => found,
                    None => return Ok(None),
                }
            }
        };
        Ok(Some(Self {
            child: None,
            pid,
            start,
            mark: mark.to_owned(),
        }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its number and when it was started.
    pub(crate) fn identity(&self) -> (u32, u64) {
        (self.pid, self.start)
    }

    /// How it has ended; none while it runs. What it has left behind is killed then.
    pub(crate) fn ended(&mut self) -> Option<String> {
        let how = match &mut self.child {
            Some(child) => match child.try_wait() {
                Ok(None) => return None,
                Ok(Some(status)) => status.to_string(),
                Err(error) => error.to_string(),
            },
            None => match stat(self.pid) {
                Ok(found) if found.start == self.start && !found.dead => return None,
                _ => "it is gone".to_owned(),
            },
        };
        kill_marked(&self.mark);
        Some(how)
    }

    /// Sends a signal to it and its group. Only before [`ended`](Self::ended) says that it has.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.pid) {
            // It may just have ended, which is what is wanted.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

/// Kills all that was started under a mark.
pub(crate) fn kill_marked(mark: &str) {
    for pid in marked(mark).unwrap_or_default() {
        if let Ok(pid) = i32::try_from(pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The processes that have a mark in their environment.
fn marked(mark: &str) -> io::Result<Vec<u32>> {
    let wanted = format!("{MARK}={mark}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Those of others cannot be read, and others end while we look.
        let Ok(environ) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        if environ
            .split(|&byte| byte == 0)
            .any(|one| one == wanted.as_bytes())
        {
            found.push(pid);
        }
    }
    Ok(found)
}

struct Stat {
    dead: bool,
    group: u32,
    start: u64,
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))?;
    // The name, in brackets, may hold anything; state, parent and group come first after it.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    match (fields.first(), number(2), number(19)) {
        (Some(state), Some(group), Some(start)) => Ok(Stat {
            dead: matches!(*state, "Z" | "X"),
            group: u32::try_from(group).unwrap_or(0),
            start,
        }),
        _ => Err(io::Error::other(format!("/proc/{pid}/stat: garbled"))),
    }
}
