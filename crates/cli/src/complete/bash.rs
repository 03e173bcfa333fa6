//! bash, which takes words apart at colons: `oci:store:v1` has to be put together, and only its end be replaced.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::env::Bash;
use clap_complete::env::EnvCompleter;

/// Completes words as the command sees them.
pub(super) struct WholeWordBash;

impl EnvCompleter for WholeWordBash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        script: &mut dyn io::Write,
    ) -> io::Result<()> {
        let text = SCRIPT.replace("VARIABLE", variable).replace("COMPLETER", completer).replace("BIN", bin);
        script.write_all(text.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut Command,
        words: Vec<OsString>,
        dir: Option<&Path>,
        out: &mut dyn io::Write,
    ) -> io::Result<()> {
        Bash.write_complete(command, words, dir, out)
    }
}

/// `$2` is the part that bash replaces. Names are quoted: they are foreign, and stand on a line that is run.
const SCRIPT: &str = r#"_BIN() {
    local IFS=$' \t\n' words=() line="${COMP_LINE:0:COMP_POINT}"
    read -r -a words <<< "$line"
    [[ "$line" == *[[:space:]] ]] && words+=("")
    local index=$(( ${#words[@]} - 1 ))
    local before="${words[index]%"$2"}" at word
    COMPREPLY=()
    IFS=$'\013' read -r -d '' -a COMPREPLY < <(
        _CLAP_IFS=$'\013' _CLAP_COMPLETE_INDEX="$index" VARIABLE=bash COMPLETER -- "${words[@]}" 2> /dev/null
    )
    for at in "${!COMPREPLY[@]}"; do
        word="${COMPREPLY[at]#"$before"}"
        [[ -n "$word" ]] && printf -v word %q "$word"
        COMPREPLY[at]="$word"
    done
    if (( ${#COMPREPLY[@]} == 1 )) && [[ "${COMPREPLY[0]}" != *[=/:] ]]; then
        COMPREPLY[0]+=' '
    fi
}
complete -o nospace -F _BIN BIN
"#;
