//! The memory that this process may use: that of the machine, or the limit of its control group (cgroup, version 1 or
//! 2) if that is less.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use thiserror::Error;

use super::bytes;

/// The most memory that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub bytes: u64,
    /// The file of the control group that sets it; none if it is the memory of the machine.
    pub group: Option<PathBuf>,
}

impl fmt::Display for Limit {
    /// The limit as the end of "there are …".
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let bytes = bytes(self.bytes);
        match &self.group {
            None => write!(f, "{bytes} in this machine"),
            Some(file) => write!(f, "{bytes} for this process ({})", file.display()),
        }
    }
}

/// The error that something needs more memory than there is, raised before it is allocated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{subject} takes about {}, and there are {limit}; {advice}", bytes(*needed))]
pub struct NoRoom {
    /// The key of the YAML and what it asks for.
    pub subject: String,
    pub needed: u64,
    pub limit: Limit,
    pub advice: String,
}

/// The limit of this process, read at the first call; none where the system does not report it.
pub fn limit() -> Option<&'static Limit> {
    static LIMIT: OnceLock<Option<Limit>> = OnceLock::new();
    LIMIT.get_or_init(|| limit_below(Path::new("/"))).as_ref()
}

/// The same from the files below the folder `root` instead of `/`.
fn limit_below(root: &Path) -> Option<Limit> {
    let machine = Limit { bytes: of_machine(root)?, group: None };
    of_groups(root).into_iter().chain([machine]).min_by_key(|limit| limit.bytes)
}

fn of_machine(root: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// A mounted hierarchy of groups: its mount point, the group at the mount point, and the name of the file with a
/// group's limit.
struct Hierarchy<'a> {
    mounted: &'a str,
    top: &'a str,
    file: &'static str,
}

/// The limits of the process's own groups and of all groups around them.
fn of_groups(root: &Path) -> Vec<Limit> {
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap_or_default();
    let (mounts, own) = (read("proc/self/mountinfo"), read("proc/self/cgroup"));
    let mut limits = Vec::new();
    for (hierarchy, is_second) in mounts.lines().filter_map(hierarchy) {
        // a line is `number:controllers:path`; version 2 has the number 0 and no controllers
        let path = own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let ours = if is_second { controllers.is_empty() } else { controllers.split(',').any(|c| c == "memory") };
            ours.then_some(path)
        });
        // in a container the path may be that of the host; then the group at the mount point is the process's own
        let inside = path.and_then(|path| Path::new(path).strip_prefix(hierarchy.top).ok()).unwrap_or(Path::new(""));
        let mounted = root.join(hierarchy.mounted.trim_start_matches('/'));
        let mut group = mounted.join(inside);
        while group.starts_with(&mounted) {
            let file = group.join(hierarchy.file);
            // "max" means no limit
            let bytes = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            limits.extend(bytes.map(|bytes| Limit { bytes, group: Some(file) }));
            if !group.pop() {
                break;
            }
        }
    }
    limits
}

/// The hierarchy in a line of `mountinfo`, if it limits memory, and whether it is of version 2.
fn hierarchy(line: &str) -> Option<(Hierarchy<'_>, bool)> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (top, mounted) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => Some((Hierarchy { mounted, top, file: "memory.max" }, true)),
        ("cgroup", options) if options.split(',').any(|option| option == "memory") => {
            Some((Hierarchy { mounted, top, file: "memory.limit_in_bytes" }, false))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, in place of `/`.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("folder");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("folder");
            std::fs::write(path, text).expect("written");
        }
        root
    }

    fn limit_of(files: &[(&str, &str)]) -> Option<(u64, Option<String>)> {
        let root = system(files);
        let limit = limit_below(root.path())?;
        let group = limit.group.map(|file| file.strip_prefix(root.path()).expect("below").display().to_string());
        Some((limit.bytes, group))
    }

    const MACHINE: (&str, &str) = ("proc/meminfo", "MemTotal:       24000000 kB\nMemFree: 1 kB\n");
    const SECOND: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const FIRST: &str = "35 31 0:32 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         36 31 0:33 /docker/a1 /sys/fs/cgroup/memory rw,relatime master:17 - cgroup cgroup rw,memory\n";

    #[test]
    fn a_machine_without_groups_has_its_own_memory() {
        assert_eq!(limit_of(&[MACHINE]), Some((24_576_000_000, None)));
        assert_eq!(limit_of(&[]), None);
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_around_it_counts() {
        let files = [
            MACHINE,
            ("proc/self/mountinfo", SECOND),
            ("proc/self/cgroup", "0::/user.slice/run-1.scope\n"),
            ("sys/fs/cgroup/user.slice/run-1.scope/memory.max", "max\n"),
            ("sys/fs/cgroup/user.slice/memory.max", "2147483648\n"),
        ];
        let found = Some((2 << 30, Some("sys/fs/cgroup/user.slice/memory.max".to_string())));
        assert_eq!(limit_of(&files), found);
        let mut own = files;
        own[3].1 = "1073741824\n";
        let found = Some((1 << 30, Some("sys/fs/cgroup/user.slice/run-1.scope/memory.max".to_string())));
        assert_eq!(limit_of(&own), found);
        // a group's limit may exceed the memory of the machine
        own[3].1 = "999999999999\n";
        own[4].1 = "max\n";
        assert_eq!(limit_of(&own), Some((24_576_000_000, None)));
    }

    #[test]
    fn the_first_version_and_containers_are_read_too() {
        let files = [
            MACHINE,
            ("proc/self/mountinfo", FIRST),
            ("proc/self/cgroup", "4:memory:/docker/a1/job\n1:cpu,cpuacct:/\n"),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "536870912\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        let found = Some((512 << 20, Some("sys/fs/cgroup/memory/job/memory.limit_in_bytes".to_string())));
        assert_eq!(limit_of(&files), found);
        // a path of the host: the group at the mount point is used
        let files = [
            MACHINE,
            ("proc/self/mountinfo", SECOND),
            ("proc/self/cgroup", "0::/../../somewhere\n"),
            ("sys/fs/cgroup/memory.max", "1048576\n"),
        ];
        assert_eq!(limit_of(&files), Some((1 << 20, Some("sys/fs/cgroup/memory.max".to_string()))));
    }

    #[test]
    fn a_limit_is_told_with_its_reason() {
        let limit = Limit { bytes: 2_000_000_000, group: None };
        assert_eq!(limit.to_string(), "2.0 GB in this machine");
        let limit = Limit { group: Some("/sys/fs/cgroup/memory.max".into()), ..limit };
        assert_eq!(limit.to_string(), "2.0 GB for this process (/sys/fs/cgroup/memory.max)");
    }
}
