//! What the figures were measured on.

use std::fs;

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::utsname::uname;
use nix::unistd::Pid;

use crate::results::Machine;

/// Asks the kernel.
pub fn describe() -> Machine {
    let cpuinfo = read("/proc/cpuinfo");
    let kernel = uname().map_or(String::new(), |name| {
        format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
    });
    Machine {
        cpu: field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "Model")).unwrap_or_else(|| "unknown".to_owned()),
        cores: cores(),
        pair: two_cores(),
        kernel,
        hypervisor: hypervisor(&cpuinfo),
        memory_mib: field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            / 1024,
        debug_build: cfg!(debug_assertions),
    }
}

/// Processes that wanted to run in the last minute, on average.
pub fn load() -> f64 {
    read("/proc/loadavg").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0)
}

/// The processors that this process may use.
pub fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return vec![0] };
    (0..CpuSet::count()).filter(|&core| set.is_set(core).unwrap_or(false)).collect()
}

/// Two cores for two processes: of one package, and not two threads of one core, where there is a choice.
pub fn two_cores() -> Option<(usize, usize)> {
    let cores = cores();
    let first = *cores.first()?;
    let (threads, package) = (siblings(first), package(first));
    let second = cores.iter().skip(1).copied().min_by_key(|&core| {
        let (is_thread, is_far) = (threads.contains(&core), self::package(core) != package);
        (is_thread, is_far)
    })?;
    Some((first, second))
}

/// The package, as a socket is called there, that a processor is in; empty where the kernel does not tell.
fn package(core: usize) -> String {
    read(&format!("/sys/devices/system/cpu/cpu{core}/topology/physical_package_id"))
}

/// The processors that are threads of the same core, as in `0,4` or `0-1`.
fn siblings(core: usize) -> Vec<usize> {
    let list = read(&format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list"));
    let range = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    list.trim().split(',').filter_map(range).flatten().collect()
}

fn hypervisor(cpuinfo: &str) -> Option<String> {
    let flags = field(cpuinfo, "flags").unwrap_or_default();
    let maker = read("/sys/class/dmi/id/sys_vendor");
    let name = match maker.trim() {
        "" => "a hypervisor".to_owned(),
        maker => maker.to_owned(),
    };
    flags.split(' ').any(|flag| flag == "hypervisor").then_some(name)
}

fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
