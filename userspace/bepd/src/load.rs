// SPDX-License-Identifier: GPL-2.0

//! The load of the node, from /proc (F7, R2). What the agent costs itself is not counted.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use fep_protocol::{ProcessReport, Report};

/// Processor time, in ticks since the node started.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    all: u64,
    idle: u64,
    own: u64,
}

/// Samples the load; the figures of a report are of the time since the one before.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    proc: PathBuf,
    before: Ticks,
    percent: f64,
    /// Of each process its ticks at the report before, and its share then.
    processes: HashMap<u32, (u64, f64)>,
}

impl Sampler {
    /// Starts to count.
    pub(crate) fn new(proc: &Path) -> io::Result<Self> {
        let mut sampler = Self {
            proc: proc.to_owned(),
            before: Ticks::default(),
            percent: 0.0,
            processes: HashMap::new(),
        };
        sampler.before = sampler.ticks(&sampler.read("stat")?)?;
        Ok(sampler)
    }

    /// The state of the node now, and of processes with their names.
    pub(crate) fn report(&mut self, processes: &[(String, u32)]) -> io::Result<Report> {
        let stat = self.read("stat")?;
        let ticks = self.ticks(&stat)?;
        let memory = self.read("meminfo")?;
        let processors = stat.lines().filter(|line| line.starts_with("cpu")).count();
        let passed = ticks.all.saturating_sub(self.before.all);
        let processes = self.processes(processes, passed, processors.saturating_sub(1).max(1));
        let bytes = |name: &str| number_after(&memory, name).saturating_mul(1024);
        Ok(Report {
            cpu_percent: self.busy(ticks),
            memory_total: bytes("MemTotal:"),
            memory_available: bytes("MemAvailable:"),
            buffers: bytes("Buffers:"),
            cached: bytes("Cached:"),
            // The agent runs while it looks.
            run_queue: u32::try_from(number_after(&stat, "procs_running").saturating_sub(1))
                .unwrap_or(u32::MAX),
            load1: first(&self.read("loadavg")?),
            uptime: first(&self.read("uptime")?),
            sockets: number_after(&self.read("net/sockstat")?, "sockets: used"),
            processes,
        })
    }

    fn busy(&mut self, now: Ticks) -> f64 {
        let all = now.all.saturating_sub(self.before.all);
        let idle = now.idle.saturating_sub(self.before.idle);
        let own = now.own.saturating_sub(self.before.own);
        // Two reports within a tick: nothing new is known.
        if let (Ok(all @ 1..), Ok(busy)) = (
            u32::try_from(all),
            u32::try_from(all.saturating_sub(idle).saturating_sub(own)),
        ) {
            self.percent = f64::from(busy) * 100.0 / f64::from(all);
            self.before = now;
        } else if all > 0 {
            self.before = now;
        }
        self.percent
    }

    /// What processes use; one that has ended meanwhile is left out.
    fn processes(
        &mut self,
        processes: &[(String, u32)],
        passed: u64,
        processors: usize,
    ) -> Vec<ProcessReport> {
        let before = std::mem::take(&mut self.processes);
        let mut reports = Vec::new();
        for (name, pid) in processes {
            let (stat, status) = (format!("{pid}/stat"), format!("{pid}/status"));
            let (Ok(stat), Ok(status)) = (self.read(&stat), self.read(&status)) else {
                continue;
            };
            let ticks = own_ticks(&stat);
            let (then, share) = before.get(pid).copied().unwrap_or((ticks, 0.0));
            let used = u32::try_from(ticks.saturating_sub(then)).unwrap_or(u32::MAX);
            let of_all = u32::try_from(passed).unwrap_or(u32::MAX);
            let processors = u32::try_from(processors).unwrap_or(u32::MAX);
            let share = match of_all {
                0 => share,
                _ => f64::from(used) * 100.0 * f64::from(processors) / f64::from(of_all),
            };
            self.processes.insert(*pid, (ticks, share));
            reports.push(ProcessReport {
                pid: *pid,
                name: name.clone(),
                cpu_percent: share,
                memory: number_after(&status, "VmRSS:").saturating_mul(1024),
            });
        }
        reports
    }

    fn ticks(&self, stat: &str) -> io::Result<Ticks> {
        let fields: Vec<u64> = stat
            .lines()
            .find_map(|line| line.strip_prefix("cpu "))
            .map(|line| line.split_whitespace().map_while(|f| f.parse().ok()))
            .map(|fields| fields.take(8).collect())
            .unwrap_or_default();
        // user nice system idle iowait irq softirq steal
        let [_, _, _, idle, iowait, ..] = fields[..] else {
            let why = format!("{}: no line cpu", self.proc.join("stat").display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        };
        let own = self.read("self/stat")?;
        Ok(Ticks {
            all: fields.iter().sum(),
            idle: idle + iowait,
            own: own_ticks(&own),
        })
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let path = self.proc.join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }
}

/// Processor time in the `stat` of a process, in ticks.
fn own_ticks(stat: &str) -> u64 {
    // The name, in brackets, may hold anything; utime and stime are the 12th and 13th after it.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times = rest.split_whitespace().skip(11).take(2);
    times.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// The number behind a word at the start of a line; 0 when it is not there.
fn number_after(text: &str, word: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(word))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

fn first(text: &str) -> f64 {
    let word = text.split_whitespace().next();
    word.and_then(|word| word.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, stat: &str, own: &str) {
        std::fs::create_dir_all(dir.join("self")).unwrap();
        std::fs::create_dir_all(dir.join("net")).unwrap();
        std::fs::write(dir.join("stat"), format!("cpu  {stat}\nprocs_running 3\n")).unwrap();
        let own = format!("7 (a ) 1 b) S 1 2 3 4 5 6 7 8 9 10 {own} 0 0");
        std::fs::write(dir.join("self/stat"), own).unwrap();
        let memory = "MemTotal: 100 kB\nMemAvailable: 60 kB\nBuffers: 3 kB\nCached: 20 kB\n";
        std::fs::write(dir.join("meminfo"), memory).unwrap();
        std::fs::write(dir.join("loadavg"), "1.25 0 0 1/9 7\n").unwrap();
        std::fs::write(dir.join("uptime"), "77.5 1\n").unwrap();
        std::fs::write(dir.join("net/sockstat"), "sockets: used 42\nTCP: inuse 3\n").unwrap();
    }

    #[test]
    fn figures_are_those_of_proc_without_the_own_cost() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "100 0 100 800 0 0 0 0 0 0", "10 10");
        let mut sampler = Sampler::new(dir.path()).unwrap();
        // Of 100 ticks 40 idle, 10 waiting for disks, 5 + 5 the agent's: 40 busy.
        write(dir.path(), "120 0 120 840 10 5 5 0 9 9", "15 15");
        let report = sampler.report(&[]).unwrap();
        assert!((report.cpu_percent - 40.0).abs() < 1e-9, "{report:?}");
        assert_eq!(
            (report.memory_total, report.memory_available),
            (102_400, 61_440)
        );
        assert_eq!((report.buffers, report.cached), (3072, 20_480));
        assert_eq!((report.run_queue, report.sockets), (2, 42));
        assert!((report.load1 - 1.25).abs() < 1e-9 && (report.uptime - 77.5).abs() < 1e-9);
        // No tick later the figure is the same; then all is idle.
        assert!((sampler.report(&[]).unwrap().cpu_percent - 40.0).abs() < 1e-9);
        write(dir.path(), "120 0 120 940 10 5 5 0 9 9", "15 15");
        assert!(sampler.report(&[]).unwrap().cpu_percent.abs() < 1e-9);
    }

    #[test]
    fn the_real_proc_is_understood() {
        let me = [("me".to_owned(), std::process::id())];
        let report = Sampler::new(Path::new("/proc")).unwrap().report(&me);
        let report = report.unwrap();
        assert!(report.memory_total > 0 && report.uptime > 0.0, "{report:?}");
        assert!(report.processes[0].memory > 0, "{report:?}");
    }

    #[test]
    fn processes_have_their_share_of_one_processor() {
        let dir = tempfile::tempdir().unwrap();
        let of = |ticks: &str| {
            std::fs::create_dir_all(dir.path().join("9")).unwrap();
            let stat = format!("9 (x) S 1 2 3 4 5 6 7 8 9 10 {ticks} 0 0");
            std::fs::write(dir.path().join("9/stat"), stat).unwrap();
            std::fs::write(dir.path().join("9/status"), "VmRSS:\t 5 kB\n").unwrap();
        };
        // Of two processors.
        write(dir.path(), "0 0 0 0 0 0 0 0\ncpu0 1\ncpu1 1", "0 0");
        of("5 5");
        let mut sampler = Sampler::new(dir.path()).unwrap();
        let asked = [("web".to_owned(), 9), ("gone".to_owned(), 8)];
        let first = sampler.report(&asked).unwrap().processes;
        assert_eq!((first.len(), first[0].memory), (1, 5120));
        assert!(first[0].cpu_percent.abs() < 1e-9);
        write(dir.path(), "100 0 0 100 0 0 0 0\ncpu0 1\ncpu1 1", "0 0");
        of("30 15");
        let second = sampler.report(&asked).unwrap().processes;
        assert!((second[0].cpu_percent - 35.0).abs() < 1e-9, "{second:?}");
        assert_eq!((second[0].pid, second[0].name.as_str()), (9, "web"));
    }
}
