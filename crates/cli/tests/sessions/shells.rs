//! Sessions with shells: completions, pages of the manual, and the page that lists all commands.

use std::fs;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::desk::Desk;
use crate::desk::field;

/// What may come next on a line, in the protocol of a shell. The last word is the one that is being written.
fn candidates(desk: &Desk, shell: &str, line: &str) -> Vec<String> {
    let words: Vec<_> = line.split(' ').collect();
    let mut command = desk.command("");
    command.arg("--").args(&words).env("SKEP_COMPLETE", shell).env("_CLAP_IFS", "\n");
    command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    let out = command.output().unwrap();
    assert!(out.status.success() && out.stderr.is_empty(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    // What is known of a candidate stands behind a tab for fish, behind a colon for zsh, which has its own escaped.
    let plain = |line: &str| match shell {
        "zsh" => line.replace("\\:", "\t").split(':').next().unwrap_or_default().replace('\t', ":").replace('\\', ""),
        _ => line.split('\t').next().unwrap_or_default().to_owned(),
    };
    let names = text.lines().map(plain);
    names.filter(|name| !name.starts_with("--")).collect()
}

fn site() -> Desk {
    let desk = Desk::new();
    fs::write(desk.path("site/css/with space.css"), "").unwrap();
    desk.ok("push -q --tag v2 site oci:store:v1");
    desk.ok("alias set here oci:store:v1");
    desk
}

#[test]
fn scripts_ask_the_command() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = desk.ok(&format!("completions {shell}"));
        assert!(script.contains("SKEP_COMPLETE") && script.contains("skep"), "{shell}: {script}");
    }
    assert_eq!(desk.run("completions tcsh").exit, 2);
}

#[test]
fn commands_flags_aliases_tags_and_paths_are_completed() {
    let desk = site();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        for (line, want) in [
            ("skep ins", "inspect"),
            ("skep manifest g", "get"),
            ("skep cat @", "@here"),
            ("skep cat oci:sto", "oci:store"),
            ("skep cat oci:store:v", "oci:store:v1 oci:store:v2"),
            ("skep cat @here:", "@here:v1 @here:v2"),
            ("skep ls @here c", "css/ css.txt"),
            ("skep cat @here css/m", "css/main.css"),
            ("skep cat @here /css/m", "/css/main.css"),
            ("skep cp @here:/css/m", "@here:/css/main.css"),
            ("skep tag @here v", "v1 v2"),
            ("skep alias rm h", "here"),
            ("skep diff @here si", "site/"),
            ("skep cat oci:nowhere x", ""),
            ("skep cat @nobody x", ""),
            ("skep ls @here nothing/", ""),
        ] {
            let found = candidates(&desk, shell, line).join(" ");
            assert_eq!(found, want, "{shell}: {line}");
        }
    }
    let flags = desk.command("").args(["--", "skep", "push", "--no-c"]).env("SKEP_COMPLETE", "fish").output().unwrap();
    assert!(flags.stdout.starts_with(b"--no-clobber\t"));
}

#[test]
fn registries_are_asked_shortly_and_silently() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let host = &served.addr;
    desk.ok(&format!("push -q --tag v2 site {host}/team/site:v1"));
    desk.ok(&format!("push -q site {host}/team/other:v1"));
    let complete = |line: &str| candidates(&desk, "fish", line);
    assert_eq!(complete(&format!("skep cat {host}/team/si")), [format!("{host}/team/site")]);
    assert_eq!(complete(&format!("skep cat {host}/")), [format!("{host}/team/other"), format!("{host}/team/site")]);
    assert_eq!(
        complete(&format!("skep cat {host}/team/site:")),
        [format!("{host}/team/site:v1"), format!("{host}/team/site:v2")]
    );
    assert_eq!(complete(&format!("skep ls {host}/team/site:v1 css/m")), ["css/main.css"]);
    // Somebody who takes connections and never says anything.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let began = Instant::now();
    assert_eq!(complete(&format!("skep cat {}/a:", silent.local_addr().unwrap())), [""; 0]);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    fs::write(desk.path(".config/skep/config.toml"), "not toml").unwrap();
    assert_eq!(complete("skep ins"), ["inspect"]);
}

#[test]
fn what_was_read_is_completed_without_its_registry() {
    let desk = Desk::new();
    let served = desk.serve("serve --addr 127.0.0.1:0 --memory");
    let line = format!("skep ls {}/site:v1 css/m", served.addr);
    desk.ok(&format!("push -q site {}/site:v1", served.addr));
    assert_eq!(candidates(&desk, "fish", &line), ["css/main.css"]);
    served.stop();
    assert_eq!(candidates(&desk, "fish", &line), ["css/main.css"]);
    fs::create_dir_all(desk.path(".config/skep")).unwrap();
    fs::write(desk.path(".config/skep/config.toml"), "[default]\nno-cache = true\n").unwrap();
    assert_eq!(candidates(&desk, "fish", &line), [""; 0]);
}

#[test]
fn bash_puts_words_together_and_quotes_names() {
    let desk = site();
    let name = "site/css/$(touch pwned)";
    fs::write(desk.path(name), "").unwrap();
    desk.ok("push -q site oci:store:v1");
    let skep = std::path::Path::new(env!("CARGO_BIN_EXE_skep"));
    let complete = |line: &str, replaced: &str| {
        let script = "source <(skep completions bash); COMP_LINE=\"$1\"; COMP_POINT=${#COMP_LINE}; _skep skep \"$2\" x; \
                      printf '<%s>' \"${COMPREPLY[@]}\"";
        let path = format!("{}:{}", skep.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "-", line, replaced]).env("PATH", path);
        let out = bash.env("HOME", desk.path("")).current_dir(desk.path("")).output().unwrap();
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(complete("skep cat oci:store:v", "v"), "<v1><v2>");
    assert_eq!(complete("skep cat @", ""), "<here >");
    assert_eq!(complete("skep cat @here css/ma", "css/ma"), "<css/main.css >");
    assert_eq!(complete("skep cat @here css/w", "css/w"), "<css/with\\ space.css >");
    assert_eq!(complete("skep cat @here css/$", "css/$"), "<css/\\$\\(touch\\ pwned\\) >");
    assert!(!desk.path("pwned").exists());
    // Shells that put names onto the line as they are get none that mean something there.
    assert_eq!(candidates(&desk, "elvish", "skep cat @here css/"), ["css/empty/", "css/main.css"]);
}

#[test]
fn pages_are_written_for_all_commands() {
    let desk = Desk::new();
    let page = desk.ok("man push");
    assert!(page.starts_with(".ie") && page.contains("skep\\-push") && page.contains("SKEP_NO_CLOBBER"), "{page}");
    assert!(desk.ok("man").contains("skep\\-manifest") || desk.ok("man").contains("skep"));
    assert!(desk.ok("man manifest get").contains("skep\\-manifest\\-get"));
    let came = desk.run("man psh");
    assert!(came.exit == 4 && came.err.contains("hint: near it: push"), "{came:?}");
    let json: serde_json::Value = serde_json::from_str(&desk.ok("man --json --dir pages")).unwrap();
    let pages: Vec<_> = json["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
    for page in ["skep.1", "skep-push.1", "skep-manifest-get.1", "skep-alias-set.1"] {
        assert!(pages.contains(&page), "{page} of {pages:?}");
    }
    for page in &pages {
        let text = fs::read_to_string(desk.path("pages").join(page)).unwrap();
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{page}");
    }
    assert_eq!(fs::read_dir(desk.path("pages")).unwrap().count(), pages.len());
    assert_eq!(field(&desk.ok("man --json --dir pages"), "schema"), "skep/man/v1");
}

#[test]
fn the_page_of_commands_names_all_of_them() {
    let desk = Desk::new();
    let json: serde_json::Value = serde_json::from_str(&desk.ok("man --json --dir pages")).unwrap();
    let page = include_str!("../../../../docs/commands.md");
    let spaced = page.replace('-', " ");
    for name in json["pages"].as_array().unwrap().iter().filter_map(|page| page.as_str()) {
        let command = name.trim_end_matches(".1").replace('-', " ");
        assert!(spaced.contains(&format!("{command} ")) || spaced.contains(&format!("{command}\n")), "{command}");
    }
    // And nothing that is none: each example is understood as far as its help.
    for line in page.lines().filter_map(|line| line.strip_prefix("skep ")) {
        let words = line.split_whitespace().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
        let command: Vec<_> = words.take(2).collect();
        let first = desk.run(&format!("{} --help", command[0]));
        assert_eq!(first.exit, 0, "{line}");
    }
}
