//! Challenges: what a registry wants to know, in its `WWW-Authenticate` headers.

use http::HeaderMap;
use http::header;

use crate::auth::Scope;

/// One challenge: a scheme and its parameters (RFC 9110, 11.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case.
    scheme: String,
    /// Keys in lower case.
    params: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn is_bearer(&self) -> bool {
        self.scheme == "bearer"
    }

    /// Where tokens are had.
    pub(crate) fn realm(&self) -> Option<&str> {
        self.param("realm")
    }

    /// What the token server calls the registry.
    pub(crate) fn service(&self) -> Option<&str> {
        self.param("service")
    }

    /// What the token must be good for.
    pub(crate) fn scope(&self) -> Option<Scope> {
        self.param("scope").map(Scope::new)
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }
}

/// The challenge to answer: Bearer if there is one, because it shows the password to the token server only.
pub(crate) fn choose(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut all: Vec<_> = values.flat_map(parse).collect();
    let usable = |challenge: &Challenge| challenge.is_bearer() && challenge.realm().is_some();
    let at = all.iter().position(usable).or_else(|| all.iter().position(|challenge| challenge.scheme == "basic"))?;
    Some(all.swap_remove(at))
}

/// As it would stand in a header.
#[cfg(any(fuzzing, test))]
impl std::fmt::Display for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.scheme)?;
        for (at, (key, value)) in self.params.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{} {key}=\"{value}\"", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The challenges of one header; what follows something malformed is left out.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = take_token(rest);
        if name.is_empty() {
            return challenges;
        }
        // A word with an equals sign and a value behind it is a parameter, any other begins a challenge.
        match (take_value(after), challenges.last_mut()) {
            (Some((value, after)), Some(challenge)) => {
                challenge.params.push((name.to_ascii_lowercase(), value));
                rest = after;
            }
            (Some(_), None) => return challenges,
            (None, _) => {
                challenges.push(Challenge { scheme: name.to_ascii_lowercase(), params: Vec::new() });
                rest = skip_token68(after);
            }
        }
    }
}

fn take_token(text: &str) -> (&str, &str) {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    text.split_at(end)
}

/// Takes `= value`, quoted or not.
fn take_value(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start().strip_prefix('=')?.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        // Unquoted values hold more than tokens may: some registries leave the quotes of a URL out.
        let end = text.find([',', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty() && !value.starts_with('=')).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            char => value.push(char),
        }
    }
    None
}

/// Leaves out the data that schemes like Negotiate have in place of parameters.
fn skip_token68(text: &str) -> &str {
    let rest = text.trim_start();
    let end = rest.find([' ', ',']).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    let data = word.trim_end_matches('=');
    let is_data = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let is_alone = after.trim_start().is_empty() || after.starts_with(',');
    if !data.is_empty() && is_alone && data.bytes().all(is_data) && text.starts_with(' ') { after } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn challenge(scheme: &str, params: &[(&str, &str)]) -> Challenge {
        let params = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Challenge { scheme: scheme.to_owned(), params }
    }

    #[test]
    fn challenges_parse_as_registries_write_them() {
        for (header, want) in [
            (r#"Basic realm="x""#, vec![challenge("basic", &[("realm", "x")])]),
            (
                r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:a/b:pull,push""#,
                vec![challenge(
                    "bearer",
                    &[
                        ("realm", "https://auth.example.com/token"),
                        ("service", "registry.example.com"),
                        ("scope", "repository:a/b:pull,push"),
                    ],
                )],
            ),
            (r#"bearer Realm = "a\"b\\c" , x=y"#, vec![challenge("bearer", &[("realm", "a\"b\\c"), ("x", "y")])]),
            (
                r#"Basic realm="x", Bearer realm="y",service=z"#,
                vec![challenge("basic", &[("realm", "x")]), challenge("bearer", &[("realm", "y"), ("service", "z")])],
            ),
            (
                r#"Negotiate, NTLM TlRMTVNT==, Basic realm="x""#,
                vec![challenge("negotiate", &[]), challenge("ntlm", &[]), challenge("basic", &[("realm", "x")])],
            ),
            ("Basic", vec![challenge("basic", &[])]),
            (
                r#"Bearer realm=https://a.b/c?d=e,scope=""#,
                vec![challenge("bearer", &[("realm", "https://a.b/c?d=e")]), challenge("scope", &[])],
            ),
            ("", vec![]),
            ("=x", vec![]),
            (r#"realm="x""#, vec![]),
        ] {
            assert_eq!(parse(header), want, "{header}");
        }
    }

    #[test]
    fn bearer_is_chosen_wherever_it_stands() {
        for (headers, want) in [
            (&[r#"Basic realm="x""#, r#"Bearer realm="y""#][..], Some("bearer")),
            (&[r#"Basic realm="x", Bearer realm="y""#], Some("bearer")),
            (&["Bearer", r#"Basic realm="x""#], Some("basic")),
            (&["Basic"], Some("basic")),
            (&["Negotiate"], None),
            (&[], None),
        ] {
            let headers = headers.iter().map(|value| (header::WWW_AUTHENTICATE, value.parse().unwrap())).collect();
            assert_eq!(choose(&headers).map(|challenge| challenge.scheme).as_deref(), want);
        }
    }

    proptest! {
        #[test]
        fn challenges_parse_from_what_they_print(
            scheme in "[a-z]{1,8}",
            params in prop::collection::vec(("[a-z]{1,8}", "[ -~]{0,20}"), 1..5),
        ) {
            let challenge = Challenge { scheme, params };
            prop_assert_eq!(parse(&challenge.to_string()), vec![challenge]);
        }

        #[test]
        fn no_header_makes_the_parser_panic(header in "(Bearer|Basic| |,|=|\"|\\\\|realm|\\PC){0,20}") {
            parse(&header);
        }
    }
}
