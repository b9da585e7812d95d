//! One run of a program, measured from the outside: wall time, CPU time and peak memory of the process.
//!
//! Linux keeps a process's peak memory (`VmHWM`) only as long as it has any, and its CPU time until it is reaped.
//! So the process is watched through `/proc` every millisecond, and reaped once it is seen to have ended. What
//! `wait4` says of peak memory would be no use: it counts the memory of the parent before the exec.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at the process.
const GLANCE: Duration = Duration::from_millis(1);
/// Ticks a second in `/proc/PID/stat`, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
const BYTES_PER_MEGABYTE: f64 = 1e6;

/// What one run took. CPU time and memory are 0 where there is no `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub wall_seconds: f64,
    /// User and system, all threads; to a hundredth of a second.
    pub cpu_seconds: f64,
    pub peak_megabytes: f64,
    /// The most that it had of its own, without the pages of its program.
    pub own_megabytes: f64,
    /// Cores that this process, which is the stub's, kept busy meanwhile.
    pub stub_cores: f64,
}

/// Runs a command to its end. What it prints on stderr is in the error if it fails.
pub fn run(command: &mut Command, log: &Path) -> io::Result<Usage> {
    let stub_before = cpu_seconds("self").map_or(0.0, |(_, seconds)| seconds);
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stderr(File::create(log)?).spawn()?;
    let id = child.id().to_string();
    let mut usage = Usage::default();
    while let Some((state, cpu_seconds)) = cpu_seconds(&id) {
        usage.cpu_seconds = cpu_seconds;
        if state == 'Z' {
            break;
        }
        if let Some(memory) = Memory::of(&id) {
            usage.peak_megabytes = memory.peak;
            usage.own_megabytes = usage.own_megabytes.max(memory.own);
        }
        std::thread::sleep(GLANCE);
    }
    let status = child.wait()?;
    usage.wall_seconds = started.elapsed().as_secs_f64();
    let stub_after = cpu_seconds("self").map_or(0.0, |(_, seconds)| seconds);
    usage.stub_cores = (stub_after - stub_before) / usage.wall_seconds;
    if status.success() {
        Ok(usage)
    } else {
        let said = fs::read_to_string(log).unwrap_or_default();
        Err(io::Error::other(format!("{}: {status}\n{said}", command.get_program().display())))
    }
}

/// The state of a process, and the time it has spent on the CPU.
pub fn cpu_seconds(process: &str) -> Option<(char, f64)> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the state comes next, user and system time 11 fields later.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let ticks = fields.skip(10).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>();
    Some((state, ticks / TICKS_PER_SECOND))
}

/// The memory of a process, in megabytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// The most that was resident at once.
    pub peak: f64,
    /// Resident now.
    pub resident: f64,
    /// Of that, what belongs to the process alone and can only go to swap. The rest are pages of files, mostly of the
    /// program: all processes share them, and the kernel takes them back when it needs them.
    pub own: f64,
}

impl Memory {
    /// `None` once the process has ended, or where there is no `/proc`.
    pub fn of(process: &str) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let megabytes = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            let kibibytes: f64 = line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kibibytes * 1024.0 / BYTES_PER_MEGABYTE)
        };
        Some(Self { peak: megabytes("VmHWM")?, resident: megabytes("VmRSS")?, own: megabytes("RssAnon")? })
    }
}
