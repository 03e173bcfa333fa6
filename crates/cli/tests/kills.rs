//! Extractions that are killed, and disks that fail: nothing is half done, and the next one makes it right.
#![allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// A directory with a tree of many files and some large ones, and an archive of it in a layout.
struct Desk {
    dir: tempfile::TempDir,
    want: BTreeMap<PathBuf, Vec<u8>>,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for number in 0..400u32 {
            let at = tree.join(format!("{}/{}", number % 7, number % 31));
            fs::create_dir_all(&at).unwrap();
            fs::write(at.join(number.to_string()), noise(200 + number as usize, number)).unwrap();
        }
        for number in 0..4 {
            fs::write(tree.join(format!("large{number}")), noise(3 << 20, 10_000 + number)).unwrap();
        }
        let desk = Self { want: content(&tree), dir };
        let pushed = desk.command("push -q tree oci:store:v1").output().unwrap();
        assert!(pushed.status.success(), "{pushed:?}");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        self.run(env!("CARGO_BIN_EXE_skep"), line)
    }

    fn run(&self, program: &str, line: &str) -> Command {
        let mut command = Command::new(program);
        command.args(line.split_whitespace()).current_dir(self.dir.path()).env("HOME", self.dir.path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SKEP_")) {
            command.env_remove(name);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Whatever is there under its name is whole and right; staging directories are not looked into.
    fn assert_nothing_half(&self, copy: &Path, when: &str) {
        for (path, came) in content(copy) {
            if !path.to_string_lossy().starts_with(".skep-") {
                assert!(self.want.get(&path) == Some(&came), "{} is not whole, {when}", path.display());
            }
        }
    }

    /// The next extraction makes the tree right, and nothing else is left.
    fn assert_mended(&self, copy: &Path, when: &str) {
        let line = format!("pull -q oci:store:v1 {}", copy.display());
        let pulled = self.command(&line).output().unwrap();
        assert!(pulled.status.success(), "{pulled:?}, {when}");
        assert!(content(copy) == self.want, "the tree is not what it was, {when}");
        let names = fs::read_dir(copy).unwrap().map(|item| item.unwrap().file_name());
        assert_eq!(names.filter(|name| name.to_string_lossy().starts_with(".skep-")).count(), 0, "{when}");
    }
}

/// Bytes that do not compress.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed) * 2 + 1;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(next).collect()
}

/// All files below a directory, by their paths in it.
fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut seen, mut left) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(dir) = left.pop() {
        let Ok(items) = fs::read_dir(&dir) else { continue };
        for item in items.map(Result::unwrap) {
            if item.file_type().unwrap().is_dir() {
                left.push(item.path());
            } else {
                seen.insert(item.path().strip_prefix(root).unwrap().to_owned(), fs::read(item.path()).unwrap());
            }
        }
    }
    seen
}

#[test]
fn an_extraction_that_is_killed_at_any_moment_leaves_nothing_half_done() {
    let desk = Desk::new();
    let copy = desk.path("copy");
    let began = Instant::now();
    assert!(desk.command("pull -q oci:store:v1 copy").output().unwrap().status.success());
    let mut took = began.elapsed();
    desk.assert_mended(&copy, "not killed at all");
    let (mut killed, mut round, mut state) = (0, 0, 7u64);
    while killed < 45 {
        // Into a new place, over what is there, and over what is half there; the last may have been killed before it began.
        if round % 3 == 0 && copy.exists() {
            fs::remove_dir_all(&copy).unwrap();
        }
        let options = ["", "--clean", "--overwrite skip", "--jobs 1"][round % 4];
        let mut child = desk.command(&format!("pull -q {options} oci:store:v1 copy")).spawn().unwrap();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(took.mul_f64(0.9 * (state >> 40) as f64 / (1u64 << 24) as f64));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // The first one had the machine less to itself.
            took = took.mul_f64(0.9);
        } else {
            killed += 1;
        }
        let when = format!("round {round}, {options}");
        desk.assert_nothing_half(&copy, &when);
        if round % 8 == 7 {
            desk.assert_mended(&copy, &when);
        }
        round += 1;
        assert!(round < 300, "{killed} of {round} were still running");
    }
    desk.assert_mended(&copy, "at the end");
}

#[test]
fn what_a_living_extraction_stages_is_left_alone() {
    let desk = Desk::new();
    let mut first = desk.command("pull -q oci:store:v1 copy").spawn().unwrap();
    let second = desk.command("pull -q oci:store:v1 copy").spawn().unwrap();
    let second = second.wait_with_output().unwrap();
    first.wait().unwrap();
    // Two that make the same new directories: one may find the other's in its way, and say so.
    assert!(matches!(second.status.code(), Some(0 | 6)), "{second:?}");
    desk.assert_nothing_half(&desk.path("copy"), "two at once");
    desk.assert_mended(&desk.path("copy"), "two at once");
}

#[test]
fn a_process_with_few_handles_fails_with_a_reason_or_does_it() {
    let desk = Desk::new();
    for limit in [12, 16, 20, 24, 32, 64] {
        let copy = desk.path(&format!("copy{limit}"));
        let script = format!("ulimit -n {limit}; exec {} pull -q oci:store:v1 copy{limit}", env!("CARGO_BIN_EXE_skep"));
        let came = desk.run("sh", "-c").arg(script).output().unwrap();
        if !came.status.success() {
            let words = String::from_utf8_lossy(&came.stderr).into_owned();
            assert!(words.contains("Too many open files") || words.contains("too many open files"), "{limit}: {words}");
        }
        desk.assert_nothing_half(&copy, &format!("with {limit} handles"));
    }
}

#[test]
fn a_directory_that_may_not_be_written_is_a_reason() {
    let desk = Desk::new();
    let copy = desk.path("copy");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("mine"), "old").unwrap();
    fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    fs::set_permissions(desk.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut command = desk.command("pull -q oci:store:v1 copy");
    if rustix::process::geteuid().is_root() {
        // Root may do anything, and nobody may not, not even run what is somewhere in a home.
        let program = desk.path("skep");
        fs::copy(env!("CARGO_BIN_EXE_skep"), &program).unwrap();
        command = desk.run(program.to_str().unwrap(), "pull -q oci:store:v1 copy");
        command.uid(65534).gid(65534);
    }
    let came = command.output().unwrap();
    let words = String::from_utf8_lossy(&came.stderr).into_owned();
    assert_eq!(came.status.code(), Some(12), "{words}");
    assert!(words.contains("Permission denied"), "{words}");
    assert_eq!(content(&copy).into_keys().collect::<Vec<_>>(), [PathBuf::from("mine")]);
}

#[test]
fn a_disk_that_is_full_is_a_reason_and_what_is_there_is_whole() {
    let desk = Desk::new();
    let disk = desk.path("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(&disk).output();
    if !mounted.is_ok_and(|mounted| mounted.status.success()) {
        eprintln!("skipped: a small disk cannot be mounted here");
        return;
    }
    let came = desk.command("pull -q oci:store:v1 disk/copy").output().unwrap();
    let words = String::from_utf8_lossy(&came.stderr).into_owned();
    let checked = std::panic::catch_unwind(|| {
        assert_eq!(came.status.code(), Some(12), "{words}");
        assert!(words.contains("No space left on device"), "{words}");
        desk.assert_nothing_half(&disk.join("copy"), "on a full disk");
        let left = fs::read_dir(disk.join("copy")).unwrap().map(|item| item.unwrap().file_name());
        assert!(left.into_iter().all(|name| !name.to_string_lossy().starts_with(".skep-")), "staging is left");
        let enlarged = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&disk).status().unwrap();
        assert!(enlarged.success());
        desk.assert_mended(&disk.join("copy"), "on a larger disk");
    });
    let deadline = Instant::now() + Duration::from_secs(5);
    while !Command::new("umount").arg(&disk).status().unwrap().success() && Instant::now() < deadline {
        std::thread::yield_now();
    }
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
}
