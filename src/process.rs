//! The `process_*` metrics that every Prometheus dashboard expects, read from `/proc`.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

/// The unit of CPU times in `/proc`: the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads anew whenever it is asked.
pub struct Process {
    cpu_seconds: Counter,
    gauges: Gauges,
}

struct Gauges {
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_files: Gauge,
    files_max: Gauge,
    threads: Gauge,
    started: Gauge,
}

impl Process {
    /// The collector. It shows nothing where there is no `/proc`.
    pub fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help));
        Ok(Self {
            cpu_seconds: Counter::with_opts(Opts::new(
                "process_cpu_seconds_total",
                "User and system CPU time spent, in seconds.",
            ))?,
            gauges: Gauges {
                resident_bytes: gauge("process_resident_memory_bytes", "Resident memory, in bytes.")?,
                virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory, in bytes.")?,
                open_files: gauge("process_open_fds", "Open file descriptors.")?,
                files_max: gauge("process_max_fds", "The most file descriptors that may be open.")?,
                threads: gauge("process_threads", "Threads of the operating system.")?,
                started: gauge(
                    "process_start_time_seconds",
                    "When the process started, in seconds since 1970.",
                )?,
            },
        })
    }

    fn read(&self) -> Option<()> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let spent = stat.cpu_ticks / TICKS_PER_SECOND - self.cpu_seconds.get();
        self.cpu_seconds.inc_by(spent.max(0.0));
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let Gauges { resident_bytes, virtual_bytes, open_files, files_max, threads, started } = &self.gauges;
        resident_bytes.set(field(&status, "VmRSS:")? * 1024.0);
        virtual_bytes.set(field(&status, "VmSize:")? * 1024.0);
        threads.set(field(&status, "Threads:")?);
        let boot = field(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
        started.set(boot + stat.start_ticks / TICKS_PER_SECOND);
        #[allow(clippy::cast_precision_loss)] // a number of files
        open_files.set(fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        files_max.set(field(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")?);
        Some(())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        let Gauges { resident_bytes, virtual_bytes, open_files, files_max, threads, started } = &self.gauges;
        let gauges = [resident_bytes, virtual_bytes, open_files, files_max, threads, started];
        self.cpu_seconds.desc().into_iter().chain(gauges.into_iter().flat_map(Collector::desc)).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if self.read().is_none() {
            return Vec::new();
        }
        let Gauges { resident_bytes, virtual_bytes, open_files, files_max, threads, started } = &self.gauges;
        let gauges = [resident_bytes, virtual_bytes, open_files, files_max, threads, started];
        self.cpu_seconds
            .collect()
            .into_iter()
            .chain(gauges.into_iter().flat_map(Collector::collect))
            .collect()
    }
}

/// The number behind a name that starts a line.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// What of `/proc/self/stat` is of use.
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program stands in parentheses, and may hold spaces and parentheses itself.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: number(11)? + number(12)?, start_ticks: number(19)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive() {
        let process = Process::new().unwrap();
        let families = process.collect();
        assert_eq!(families.len(), 7);
        assert_eq!(process.desc().len(), 7);
        let value = |name: &str| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_open_fds") >= 3.0 && value("process_max_fds") > value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.6e9);
        assert!(value("process_threads") >= 1.0);
    }

    #[test]
    fn names_of_programs_do_not_confuse() {
        let text = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0 1234 5 6";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks.to_string(), stat.start_ticks.to_string()), ("200".into(), "1234".into()));
        assert!(Stat::parse("7 a S 1").is_none());
    }
}
