//! The `skep` command.

mod alias;
mod args;
mod commands;
mod complete;
mod config;
mod exit;
mod interrupt;
mod line;
mod near;
mod output;
mod pointed;
mod progress;
mod serve;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;

use crate::args::Cli;
use crate::args::Command;
use crate::commands::Session;
use crate::config::Config;
use crate::exit::Exit;
use crate::exit::Failure;
use crate::exit::Outcome;
use crate::interrupt::Interrupt;

/// How long work on other threads may take to notice that it is no longer wanted.
const PATIENCE: Duration = Duration::from_millis(2500);

fn main() -> ExitCode {
    if let Some(exit) = complete::answer() {
        return exit;
    }
    let loaded = Config::load();
    let unread = Config::unread();
    let cli = match line::parse(loaded.as_ref().unwrap_or(&unread)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, loaded.as_ref().unwrap_or(&unread)),
    };
    let json = cli.global.json;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            Failure::from(error).say(json);
            return Exit::Other.into();
        }
    };
    let outcome = match loaded {
        Err(failure) if !cli.command.is_local() => Err(failure),
        loaded => {
            let config = loaded.unwrap_or(unread).with_flags(&cli.global);
            let config = if cli.command.is_local() { Ok(config) } else { config.with_policies(&cli.global) };
            config.and_then(|config| runtime.block_on(run(cli, config)))
        }
    };
    runtime.shutdown_timeout(PATIENCE);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.say(json);
            failure.exit.into()
        }
    }
}

/// Says what is wrong with the command line, or the help that it asks for.
fn usage(error: &clap::Error, config: &Config) -> ExitCode {
    let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !asked_for && line::wants_json(config) {
        let text = error.to_string();
        // The first paragraph says what is wrong; the rest is how to use it.
        let said: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        Failure::new(Exit::Usage, said.join(" ").trim_start_matches("error: ")).say(true);
    } else if !asked_for
        && std::env::args_os().any(|word| word.to_str().is_none_or(|word| output::escape(word) != word))
    {
        // Words from elsewhere may be on the line, and are repeated.
        let text = error.render().to_string();
        text.lines().for_each(|line| eprintln!("{}", output::escape(line)));
    } else {
        // What cannot be printed has no reader; the exit code still tells.
        let _ = error.print();
    }
    if asked_for { ExitCode::SUCCESS } else { Exit::Usage.into() }
}

async fn run(cli: Cli, config: Config) -> Outcome {
    log_to_stderr(&cli);
    let mut interrupt = Interrupt::listen()?;
    if let Command::Serve(args) = cli.command {
        // A server ends well when it is told to; it listens for that itself.
        return serve::serve(&cli.global, &config, args, interrupt).await;
    }
    if let Command::Dev(part) = cli.command {
        return commands::dev::dev(&cli.global, part, interrupt).await;
    }
    let session = Session::new(&cli.global, config);
    if let Command::Doctor(args) = cli.command {
        // It has something to remove before it ends.
        return commands::doctor::doctor(&session, args, interrupt).await;
    }
    tokio::select! {
        outcome = commands::run(&session, cli.command) => {
            session.progress.clear();
            outcome
        }
        // The work is dropped, which undoes what is half done.
        () = interrupt.came() => {
            session.progress.clear();
            Err(Failure::new(Exit::Interrupted, "interrupted"))
        }
    }
}

fn log_to_stderr(cli: &Cli) {
    let serving = matches!(cli.command, Command::Serve(_));
    let level = match (cli.global.quiet, cli.global.verbose + u8::from(serving)) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "skep=info,skep_http=info,skep_archive=info,skep_registry=info,warn",
        (_, 2) => "skep=debug,skep_http=debug,skep_archive=debug,skep_registry=debug,info",
        _ => "trace",
    };
    // https://no-color.org
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let filter = tracing_subscriber::EnvFilter::try_from_env("SKEP_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}
