//! Changes of the configuration file, which keep everything else in it as it stands.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;
use toml_edit::DocumentMut;

use super::Config;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::pointed;

/// Changes the file, or makes it: comments, order and all that is not changed stay, and a file that would have a mistake
/// then is not written. It is replaced at once; changes by several processes come one after the other.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut DocumentMut) -> Outcome) -> Outcome {
    let failed = |error: io::Error| Failure::new(Exit::Disk, format!("cannot change {}: {error}", path.display()));
    // What a link leads to is replaced, not the link.
    let file = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(failed)?;
    let lock = File::open(dir).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let is_there = file.exists();
    let text = if is_there { pointed::text(&file)? } else { String::new() };
    // What is wrong already is better mended by hand, in sight.
    Config::parse(path, &text)?;
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        Failure::new(Exit::Usage, format!("{}: {}", path.display(), error.message()))
    })?;
    change(&mut document)?;
    let changed = document.to_string();
    Config::parse(path, &changed)?;
    if changed == text {
        return Ok(());
    }
    let mut new = NamedTempFile::new_in(dir).map_err(failed)?;
    new.write_all(changed.as_bytes()).map_err(failed)?;
    if is_there {
        let permissions = fs::metadata(&file).map_err(failed)?.permissions();
        new.as_file().set_permissions(permissions).map_err(failed)?;
    }
    new.as_file().sync_all().map_err(failed)?;
    new.persist(&file).map_err(|error| failed(error.error))?;
    lock.sync_all().map_err(failed)
}
