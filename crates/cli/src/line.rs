//! The command line as it is understood: with variables, aliases, defaults of the file, and what completes it.

use std::any::TypeId;

use clap::Arg;
use clap::ArgAction;
use clap::Command;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::builder::FalseyValueParser;
use skep::Address;
use toml::Value;

use crate::args::Cli;
use crate::args::Global;
use crate::config::Config;

/// Reads the command line: what is said there, else in the environment, else in the file.
pub(crate) fn parse(config: &Config) -> Result<Cli, clap::Error> {
    let mut command = command(config);
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// What holds of the global flags where the line has none: what is said in the environment, else in the file.
pub(crate) fn unsaid(config: &Config) -> Result<Global, clap::Error> {
    let matches = command(config).try_get_matches_from(["skep", "version"])?;
    Cli::from_arg_matches(&matches).map(|cli| cli.global)
}

/// Tells whether JSON is wanted on a line that is not understood.
pub(crate) fn wants_json(config: &Config) -> bool {
    if std::env::args_os().any(|word| word == "--json") {
        return true;
    }
    match std::env::var("SKEP_JSON") {
        Ok(value) => !["", "0", "f", "false", "n", "no", "off"].contains(&value.to_lowercase().as_str()),
        Err(_) => config.defaults.get("json").is_some_and(|values| *values == ["true"]),
    }
}

/// All commands, with what the configuration adds.
pub(crate) fn command(config: &Config) -> Command {
    adapt(Cli::command(), config)
}

fn adapt(command: Command, config: &Config) -> Command {
    let command = command.mut_args(|arg| with_aliases(with_default(with_variable(arg), config), config));
    command.mut_subcommands(|command| adapt(command, config))
}

/// Every flag has a variable. Unless it says which, `--no-clobber` has `SKEP_NO_CLOBBER`.
fn with_variable(arg: Arg) -> Arg {
    // A switch is on when its variable is set to anything but nothing, `0`, `false`, `no` or `off`.
    let arg = match arg.get_action() {
        ArgAction::SetTrue => arg.value_parser(FalseyValueParser::new()),
        ArgAction::Help | ArgAction::HelpLong | ArgAction::HelpShort | ArgAction::Version => return arg,
        _ => arg,
    };
    match arg.get_long() {
        Some(long) if arg.get_env().is_none() => {
            let variable = format!("SKEP_{}", long.to_uppercase().replace('-', "_"));
            arg.env(variable)
        }
        _ => arg,
    }
}

fn with_default(arg: Arg, config: &Config) -> Arg {
    match key(&arg).and_then(|key| config.defaults.get(&key)) {
        Some(values) => arg.default_values(values.clone()),
        None => arg,
    }
}

fn with_aliases(arg: Arg, config: &Config) -> Arg {
    let (holds, aliases) = (arg.get_value_parser().type_id(), config.aliases.clone());
    let is_called = |name: &str| arg.get_value_names().unwrap_or_default().iter().any(|value| value == name);
    if is_called("HOST[/REPO]") {
        return arg.value_parser(move |text: &str| aliases.repository(text).map(String::from));
    }
    if holds == TypeId::of::<Address>() && is_called("REPO") {
        return arg.value_parser(move |text: &str| aliases.address(&aliases.repository(text)?));
    }
    if holds == TypeId::of::<Address>() {
        return arg.value_parser(move |text: &str| aliases.address(text));
    }
    // Text that holds an address, or may, as `REF:/PATH` does.
    let names = arg.get_value_names().unwrap_or_default();
    let is_reference = names.iter().any(|name| name.starts_with("REF") || name == "SOURCE");
    if is_reference && holds == TypeId::of::<String>() {
        return arg.value_parser(move |text: &str| aliases.expand(text).map(String::from));
    }
    arg
}

/// What a flag is called in the table `default` of the file: its variable without the `SKEP_`.
fn key(arg: &Arg) -> Option<String> {
    // The file cannot say which file it is, and is printed, so it has no token; and a flag takes the place of its
    // default, but not of a policy.
    let variable = arg.get_env()?.to_str()?.strip_prefix("SKEP_")?;
    if ["CONFIG", "IDENTITY_TOKEN", "POLICY"].contains(&variable) {
        return None;
    }
    Some(variable.to_lowercase().replace('_', "-"))
}

/// Takes a value of the table `default` as the flags of that name do.
///
/// # Errors
/// What is wrong with it, also when there is no such flag.
pub(crate) fn default_of(wanted: &str, value: &Value) -> Result<Vec<String>, String> {
    let mut args = Vec::new();
    gather(&command(&Config::default()), &mut args);
    let keys: Vec<_> = args.iter().filter_map(key).collect();
    let mut flags = args.iter().filter(|arg| key(arg).as_deref() == Some(wanted)).peekable();
    if flags.peek().is_none() {
        let mut near = crate::near::near(wanted, keys.iter().map(String::as_str));
        near.dedup();
        let near = if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(", ")) };
        return Err(format!("there is no flag with a default called {wanted:?}{near}"));
    }
    let values = match value {
        Value::Array(values) => values.iter().map(plain).collect::<Result<Vec<_>, _>>()?,
        value => vec![plain(value)?],
    };
    for flag in flags {
        if matches!(flag.get_action(), ArgAction::SetTrue) && !value.is_bool() {
            return Err(format!("{wanted} is true or false"));
        }
        if values.len() != 1 && !matches!(flag.get_action(), ArgAction::Append) {
            return Err(format!("{wanted} has one value"));
        }
        let flag =
            Arg::new("value").num_args(1).action(ArgAction::Append).value_parser(flag.get_value_parser().clone());
        let mut line = Command::new("skep").arg(flag.long("value"));
        for value in &values {
            if let Err(error) = line.try_get_matches_from_mut(["skep".to_owned(), format!("--value={value}")]) {
                let text = error.to_string();
                let why = text
                    .lines()
                    .next()
                    .and_then(|line| line.rsplit_once("': "))
                    .map_or("it is not known", |(_, why)| why);
                return Err(format!("{value:?} cannot be {wanted}: {why}"));
            }
        }
    }
    Ok(values)
}

fn plain(value: &Value) -> Result<String, String> {
    match value {
        Value::Boolean(value) => Ok(value.to_string()),
        Value::Integer(value) => Ok(value.to_string()),
        Value::String(value) => Ok(value.clone()),
        _ => Err("wanted text, a number, true or false".to_owned()),
    }
}

/// All flags of a command and of those below it.
fn gather(command: &Command, into: &mut Vec<Arg>) {
    into.extend(command.get_arguments().cloned());
    command.get_subcommands().for_each(|command| gather(command, into));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn all() -> Vec<Arg> {
        let mut args = Vec::new();
        gather(&command(&Config::default()), &mut args);
        args
    }

    #[test]
    fn the_command_line_is_consistent() {
        command(&Config::default()).debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable() {
        let without: Vec<_> =
            all().into_iter().filter(|arg| arg.get_long().is_some() && arg.get_env().is_none()).collect();
        let names: Vec<_> = without.iter().filter_map(Arg::get_long).filter(|long| *long != "help").collect();
        assert_eq!(names, [""; 0]);
    }

    #[test]
    fn the_same_variable_means_the_same() {
        let mut seen = BTreeMap::new();
        for arg in all() {
            let Some(variable) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else { continue };
            assert!(variable.starts_with("SKEP_"), "{variable}");
            let values: Vec<_> = arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
            let means = format!("{:?} {values:?}", arg.get_value_parser().type_id());
            let before = seen.entry(variable.clone()).or_insert(means.clone());
            assert_eq!(*before, means, "{variable}");
        }
    }

    #[test]
    fn defaults_are_values_that_their_flags_take() {
        let of = |key, text: &str| {
            let table: toml::Table = toml::from_str(&format!("value = {text}")).unwrap();
            default_of(key, &table["value"])
        };
        assert_eq!(of("jobs", "4").unwrap(), ["4"]);
        assert_eq!(of("plain-http", "true").unwrap(), ["true"]);
        assert_eq!(of("compression", "'zstd:19'").unwrap(), ["zstd:19"]);
        assert_eq!(of("tag", "['a', 'b']").unwrap(), ["a", "b"]);
        for (key, text, why) in [
            ("jobs", "'many'", "\"many\" cannot be jobs: invalid digit"),
            ("jobs", "[1, 2]", "has one value"),
            ("plain-http", "'yes'", "true or false"),
            ("compression", "'gzip'", "wanted none, zstd"),
            ("jobz", "4", "near it: jobs"),
            ("config", "'x'", "no flag"),
            ("policy", "'x'", "no flag"),
            ("jobs", "{}", "wanted text"),
        ] {
            let said = of(key, text).unwrap_err();
            assert!(said.contains(why), "{key} = {text}: {said}");
        }
    }
}
