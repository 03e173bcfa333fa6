//! Logins: challenges, tokens and what they are good for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use http::Response;
use http::header;
use http_body_util::BodyExt;
use http_body_util::Limited;
use serde_json::json;
use url::form_urlencoded;

use crate::endpoint::Endpoint;
use crate::server::ResponseBody;
use crate::testing::quirky::asked::Asked;
use crate::testing::quirky::asked::RequestBody;
use crate::testing::quirky::asked::repo_of;
use crate::testing::quirky::said::empty;
use crate::testing::quirky::said::refuse;
use crate::testing::quirky::said::say_json;
use crate::testing::quirky::said::set;

/// Who is let in: one user, who may do everything, and with tokens also everyone, who may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name of the user. `user` unless it is set.
    pub user: String,
    /// The password, which is good as a refresh token too. `secret` unless it is set.
    pub password: String,
    /// How tokens are had, from `/token` at the registry's own origin. The password is wanted with each request
    /// when there is none.
    pub tokens: Option<Tokens>,
}

/// How tokens are had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Answers POST, as OAuth 2 has it; 404 otherwise.
    pub answers_post: bool,
    /// What the token is called.
    pub name: TokenName,
    /// Gives everyone a token of no characters, and lets who has none read.
    pub empty_for_everyone: bool,
}

/// What a token server calls its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenName {
    /// `access_token`, as OAuth 2 has it.
    AccessToken,
    /// Both.
    Both,
    /// `token`, as docker has it.
    #[default]
    Token,
}

impl Login {
    /// User and password with each request.
    pub fn basic() -> Self {
        Self { user: "user".to_owned(), password: "secret".to_owned(), tokens: None }
    }

    /// Tokens.
    pub fn bearer(tokens: Tokens) -> Self {
        Self { tokens: Some(tokens), ..Self::basic() }
    }

    /// Tells whether a request is the user's, if it may do what it wants.
    ///
    /// # Errors
    /// The challenge.
    pub(super) fn admit(&self, asked: &Asked, no_catalog: bool) -> Result<bool, Response<ResponseBody>> {
        let header = asked.text(&header::AUTHORIZATION).and_then(|text| text.split_once(' '));
        let Some(tokens) = self.tokens else {
            return match header {
                Some(("Basic", credential)) if self.is_user(credential) => Ok(true),
                _ => Err(challenge("Basic realm=\"double\"".to_owned())),
            };
        };
        let need = need(asked);
        let held = match header {
            Some(("Bearer", token)) => Held::read(token),
            _ if tokens.empty_for_everyone && asked.path.trim_end_matches('/') != "/v2" => {
                Some(Held { is_user: false, scopes: need.iter().filter_map(|scope| for_everyone(scope)).collect() })
            }
            _ => None,
        };
        let catalog = no_catalog && matches!(asked.endpoint(), Some(Endpoint::Catalog));
        match held {
            Some(held) if !catalog && need.iter().all(|scope| held.covers(scope)) => Ok(held.is_user),
            held => {
                let (host, scope) = (&asked.host, need.join(" "));
                let mut value = format!("Bearer realm=\"http://{host}{TOKEN}\",service=\"{host}\"");
                if !scope.is_empty() {
                    value.push_str(&format!(",scope=\"{scope}\""));
                }
                if held.is_some() {
                    value.push_str(",error=\"insufficient_scope\"");
                }
                Err(challenge(value))
            }
        }
    }

    /// Gives a token.
    pub(super) async fn token(&self, asked: &Asked, body: RequestBody) -> Response<ResponseBody> {
        let tokens = self.tokens.unwrap_or_default();
        let denied = || refuse(401, "UNAUTHORIZED", "incorrect username or password");
        let (scopes, is_user): (Vec<String>, _) = if asked.method == Method::POST {
            let form = Limited::new(body, MAX_FORM).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            if !tokens.answers_post {
                return empty(404);
            }
            let field = |name: &str| {
                let mut pairs = form_urlencoded::parse(&form);
                pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
            };
            let is_user = match field("grant_type").as_str() {
                "refresh_token" => field("refresh_token") == self.password,
                _ => field("username") == self.user && field("password") == self.password,
            };
            if !is_user {
                return denied();
            }
            (field("scope").split_ascii_whitespace().map(str::to_owned).collect(), true)
        } else {
            let scopes = asked.query.iter().filter(|(key, _)| key == "scope");
            let scopes = scopes.flat_map(|(_, value)| value.split_ascii_whitespace()).map(str::to_owned).collect();
            match asked.text(&header::AUTHORIZATION).map(|text| text.strip_prefix("Basic ").unwrap_or_default()) {
                Some(credential) if self.is_user(credential) => (scopes, true),
                Some(_) => return denied(),
                None => (scopes, false),
            }
        };
        let scopes = if is_user { scopes } else { scopes.iter().filter_map(|scope| for_everyone(scope)).collect() };
        let text = match is_user {
            false if tokens.empty_for_everyone => String::new(),
            _ => Held { is_user, scopes }.print(),
        };
        let mut answer = json!({ "expires_in": 300 });
        if tokens.name != TokenName::AccessToken {
            answer["token"] = text.clone().into();
        }
        if tokens.name != TokenName::Token {
            answer["access_token"] = text.into();
        }
        say_json(200, &answer)
    }

    fn is_user(&self, credential: &str) -> bool {
        let expected = format!("{}:{}", self.user, self.password);
        STANDARD.decode(credential).is_ok_and(|text| text == expected.as_bytes())
    }
}

/// What a token is good for. It is not signed: whoever forges one is testing something else.
struct Held {
    is_user: bool,
    scopes: Vec<String>,
}

impl Held {
    fn print(&self) -> String {
        let who = if self.is_user { "user" } else { "everyone" };
        URL_SAFE_NO_PAD.encode(format!("{who} {}", self.scopes.join(" ")))
    }

    fn read(token: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let (who, scopes) = text.split_once(' ')?;
        Some(Self { is_user: who == "user", scopes: scopes.split_ascii_whitespace().map(str::to_owned).collect() })
    }

    fn covers(&self, need: &str) -> bool {
        let Some((what, actions)) = need.rsplit_once(':') else { return false };
        actions.split(',').all(|action| {
            let mut held = self.scopes.iter().filter_map(|scope| scope.rsplit_once(':'));
            held.any(|(one, held)| one == what && held.split(',').any(|held| held == action || held == "*"))
        })
    }
}

/// What of a scope everyone has.
fn for_everyone(scope: &str) -> Option<String> {
    let (what, actions) = scope.rsplit_once(':')?;
    let reads = what.starts_with("repository:") && actions.split(',').any(|action| action == "pull");
    reads.then(|| format!("{what}:pull"))
}

/// The scopes that a request needs.
fn need(asked: &Asked) -> Vec<String> {
    let Some(endpoint) = asked.endpoint() else { return Vec::new() };
    if endpoint == Endpoint::Catalog {
        return vec!["registry:catalog:*".to_owned()];
    }
    let Some(repo) = repo_of(&endpoint) else { return Vec::new() };
    let is_upload = matches!(endpoint, Endpoint::Upload(..));
    let actions = match asked.method {
        Method::GET | Method::HEAD if !is_upload => "pull",
        Method::DELETE if !is_upload => "delete",
        _ => "pull,push",
    };
    let own = format!("repository:{repo}:{actions}");
    match asked.get("from").filter(|_| asked.get("mount").is_some()) {
        Some(from) if from != repo.as_str() => vec![own, format!("repository:{from}:pull")],
        _ => vec![own],
    }
}

fn challenge(value: String) -> Response<ResponseBody> {
    let mut answer = refuse(401, "UNAUTHORIZED", "authentication required");
    set(&mut answer, header::WWW_AUTHENTICATE, &value);
    answer
}

/// Where tokens are had.
pub(super) const TOKEN: &str = "/token";
/// Bytes of a form that are read.
const MAX_FORM: usize = 64 << 10;
