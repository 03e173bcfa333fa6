//! `skep man [COMMAND...]` and `skep man --dir DIR`.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use serde::Serialize;

use super::Session;
use crate::args;
use crate::config::Config;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::line;
use crate::near::near;
use crate::output;
use crate::output::count;
use crate::output::escape;

#[derive(Serialize)]
struct Answer {
    schema: &'static str,
    dir: String,
    pages: Vec<String>,
}

pub(super) fn man(session: &Session, args: args::Man) -> Outcome {
    // Pages tell what holds everywhere, not what this user's file says.
    let mut command = line::command(&Config::default());
    command.build();
    if let Some(dir) = &args.dir {
        return write_all(session, &command, dir);
    }
    let mut page = &command;
    for word in &args.command {
        page = page.find_subcommand(word).ok_or_else(|| {
            let near = near(word, page.get_subcommands().map(Command::get_name));
            let failure = Failure::new(Exit::NotFound, format!("{} has no command {word:?}", page.get_name()));
            if near.is_empty() { failure } else { failure.hint(format!("near it: {}", near.join(", "))) }
        })?;
    }
    output::bytes(&rendered(page)?)
}

fn write_all(session: &Session, command: &Command, dir: &Path) -> Outcome {
    let failed =
        |path: &Path, error: io::Error| Failure::new(Exit::Disk, format!("cannot write {}: {error}", path.display()));
    fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let mut pages = Vec::new();
    let mut rest = vec![command];
    while let Some(command) = rest.pop() {
        let page = format!("{}.1", name(command));
        let path = dir.join(&page);
        fs::write(&path, rendered(command)?).map_err(|error| failed(&path, error))?;
        pages.push(page);
        rest.extend(command.get_subcommands().filter(|command| command.get_name() != "help"));
    }
    pages.sort_unstable();
    let (dir, number) = (dir.display().to_string(), pages.len() as u64);
    session.answer(&Answer { schema: "skep/man/v1", dir: dir.clone(), pages }, || {
        format!("wrote {} into {}", count(number, "page"), escape(&dir))
    })
}

fn rendered(command: &Command) -> Outcome<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone().name(name(command))).render(&mut page)?;
    Ok(page)
}

/// The name of a page: `skep-manifest-get`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}
