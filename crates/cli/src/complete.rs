//! Completions: what may come next on the command line, asked by the shell each time.
//!
//! The script that `skep completions` prints calls the command with the words so far, in the protocol of
//! [`clap_complete::env`]. What is in registries and archives is looked up there, shortly, and silently if it fails.

mod bash;
mod candidates;

use std::any::TypeId;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Arg;
use clap::Command;
use clap_complete::ArgValueCompleter;
use clap_complete::CompletionCandidate;
use clap_complete::PathCompleter;
use clap_complete::Shell;
use clap_complete::engine::ValueCompleter;
use clap_complete::env::CompleteEnv;
use clap_complete::env::Elvish;
use clap_complete::env::Fish;
use clap_complete::env::Powershell;
use clap_complete::env::Shells;
use clap_complete::env::Zsh;
use skep::Address;
use skep_registry::Tag;

use crate::complete::bash::WholeWordBash;
use crate::complete::candidates::Candidates;
use crate::config::Config;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::line;
use crate::output;

/// The variable that says which shell asks.
const VARIABLE: &str = "SKEP_COMPLETE";

const SHELLS: Shells<'static> = Shells(&[&WholeWordBash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Answers a shell that asks what may come next; nothing if none does.
pub(crate) fn answer() -> Option<ExitCode> {
    let shell = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty())?;
    let config = Config::load().unwrap_or_else(|_| Config::unread());
    // The line is not understood yet, so that its own flags do not count.
    let config = match line::unsaid(&config) {
        Ok(global) => config.with_flags(&global),
        Err(_) => config,
    };
    // What is behind the first `--` is what was typed.
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let candidates = Arc::new(Candidates::new(config, words, &shell));
    let command = || with_completers(line::command(candidates.config()), &candidates);
    let completing = CompleteEnv::with_factory(command).var(VARIABLE).shells(SHELLS);
    // Words about a failure would stand in the middle of the line that is being written.
    match completing.try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref()) {
        Ok(_) => Some(ExitCode::SUCCESS),
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// Prints the script that makes a shell ask.
pub(crate) fn register(shell: Shell) -> Outcome {
    let name = shell.to_string();
    let Some(completer) = SHELLS.completer(&name) else {
        return Err(Failure::new(Exit::Unsupported, format!("there are no completions for {name}")));
    };
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "skep", "skep", "skep", &mut script)?;
    output::bytes(&script)
}

fn with_completers(command: Command, candidates: &Arc<Candidates>) -> Command {
    let reads_archive = command.get_arguments().any(holds::<Address>);
    let is_about_aliases = command.get_name() == "rm" && !reads_archive;
    let command = command.mut_args(|arg| {
        let is_called = |name: &str| arg.get_value_names().unwrap_or_default().iter().any(|value| value == name);
        let candidates = candidates.clone();
        if is_called("REF|DIR") {
            let directories = move |text: &str| PathCompleter::dir().complete(OsStr::new(text));
            return completed(arg, move |text| {
                [candidates.references(text), directories(text)].into_iter().flatten().collect()
            });
        }
        if is_called("SOURCE") || is_called("DEST") {
            let paths = move |text: &str| PathCompleter::any().complete(OsStr::new(text));
            return completed(arg, move |text| {
                [candidates.references(text), paths(text)].into_iter().flatten().collect()
            });
        }
        if holds::<Address>(&arg) {
            return completed(arg, move |text| candidates.references(text));
        }
        if holds::<Tag>(&arg) {
            return completed(arg, move |text| candidates.tags_of_reference(text));
        }
        if reads_archive && holds::<String>(&arg) && ["PATH", "PATHS", "START"].iter().any(|name| is_called(name)) {
            return completed(arg, move |text| candidates.paths_of_reference(text));
        }
        if is_about_aliases && is_called("NAME") {
            return completed(arg, move |text| candidates.aliases("", text));
        }
        arg
    });
    command.mut_subcommands(|command| with_completers(command, candidates))
}

fn completed(arg: Arg, find: impl Fn(&str) -> Vec<CompletionCandidate> + Send + Sync + 'static) -> Arg {
    arg.add(ArgValueCompleter::new(move |text: &OsStr| text.to_str().map(&find).unwrap_or_default()))
}

fn holds<T: 'static>(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<T>()
}
