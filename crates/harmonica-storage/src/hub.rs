//! Models by the name of their repository: `hf://org/name` or `hf://org/name@revision`.
//!
//! In: a place (such a name, or a plain directory) and the files that are wanted of it; out: the directory that holds them. The cache is the
//! one that all libraries of the Hugging Face hub share: what stands in it is used without asking anybody. What is missing is
//! downloaded where the feature `hub` is built in and `HF_HUB_OFFLINE` does not forbid it.
//! Invariant: the directory that is returned holds all that was wanted, of one commit.

use crate::{is_plain_name, stays_inside};
use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};

/// What a place begins with that is a repository.
const SCHEME: &str = "hf://";
const DEFAULT_REVISION: &str = "main";
#[cfg(feature = "hub")]
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Why a repository's files are not there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that is no repository.
    #[error("`{place}` names no repository: {reason}; write hf://org/name or hf://org/name@revision")]
    Name {
        /// What was given.
        place: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Files are missing in the cache and cannot be fetched.
    #[error(
        "{files} of `{repository}` at revision `{revision}` {} not in the cache at `{}` and {obstacle}",
        if files.contains(',') { "are" } else { "is" }, cache.display()
    )]
    Missing {
        /// The files, joined by commas.
        files: String,
        /// `org/name`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
        /// Where was looked.
        cache: PathBuf,
        /// Why they are not fetched, and what to do.
        obstacle: String,
    },
    /// The cache holds what it should not.
    #[error("`{}` does not hold the name of a commit; remove it, and it is fetched anew", path.display())]
    Reference {
        /// The file.
        path: PathBuf,
    },
}

/// A repository at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// `org/name`, or `name` alone.
    pub name: String,
    /// Branch, tag or commit.
    pub revision: String,
}

impl Repository {
    /// Reads `hf://org/name[@revision]`; a place that does not begin with `hf://` is none.
    ///
    /// # Errors
    /// A name that no repository can have.
    pub fn parse(place: &Path) -> Result<Option<Self>, HubError> {
        let Some(rest) = place.to_str().and_then(|text| text.strip_prefix(SCHEME)) else { return Ok(None) };
        let refuse = |reason| Err(HubError::Name { place: place.to_string_lossy().into_owned(), reason });
        let (name, revision) = rest.split_once('@').unwrap_or((rest, DEFAULT_REVISION));
        let parts: Vec<&str> = name.split('/').collect();
        let is_part = |part: &&str| {
            is_plain_name(part) && part.is_ascii() && !part.contains("--") && !part.contains("..")
        };
        if parts.len() > 2 || !parts.iter().all(is_part) {
            return refuse(
                "its parts are letters, digits, `-`, `_` and `.`, with one `/` between organisation and name",
            );
        }
        if !stays_inside(Path::new(revision)) || revision.contains('\\') {
            return refuse("its revision is no name of a branch, tag or commit");
        }
        Ok(Some(Self { name: name.into(), revision: revision.into() }))
    }

    /// Directory of the repository within the cache.
    fn folder(&self) -> String {
        format!("models--{}", self.name.replace('/', "--"))
    }
}

impl Display for Repository {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        write!(out, "{SCHEME}{}@{}", self.name, self.revision)
    }
}

/// The cache, and whether more may be fetched. What shows it for debugging does not show the token.
#[derive(Clone, PartialEq, Eq)]
pub struct Hub {
    /// Directory that holds `models--org--name/`.
    pub cache: PathBuf,
    /// Whether nothing may be fetched.
    pub offline: bool,
    /// Another address than the hub's own.
    pub endpoint: Option<String>,
    /// What identifies the user to the hub.
    pub token: Option<String>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "(hidden)");
        out.debug_struct("Hub")
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .field("endpoint", &self.endpoint)
            .field("token", &token)
            .finish()
    }
}

impl Hub {
    /// What the environment says: `HF_HUB_CACHE`, `HF_HOME`, `HF_HUB_OFFLINE`, `HF_ENDPOINT` and `HF_TOKEN`, as in the hub's own library.
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_variables(value: impl Fn(&str) -> Option<String>, user_home: Option<PathBuf>) -> Self {
        let value = |name: &str| value(name).filter(|value| !value.is_empty());
        let home = value("HF_HOME").map(PathBuf::from).unwrap_or_else(|| {
            let caches = value("XDG_CACHE_HOME").map(PathBuf::from);
            caches.unwrap_or_else(|| user_home.unwrap_or_default().join(".cache")).join("huggingface")
        });
        let cache = value("HF_HUB_CACHE").or_else(|| value("HUGGINGFACE_HUB_CACHE"));
        let is_set = |name: &str| {
            value(name).is_some_and(|v| ["1", "on", "yes", "true"].contains(&v.to_lowercase().as_str()))
        };
        let kept = || std::fs::read_to_string(home.join("token")).ok().map(|token| token.trim().to_owned());
        Self {
            cache: cache.map_or_else(|| home.join("hub"), PathBuf::from),
            offline: is_set("HF_HUB_OFFLINE") || is_set("TRANSFORMERS_OFFLINE"),
            endpoint: value("HF_ENDPOINT"),
            token: value("HF_TOKEN").or_else(kept).filter(|token| !token.is_empty()),
        }
    }

    /// The directory that holds the files wanted of a place: a plain directory is its own answer, a repository's is its snapshot in the cache.
    /// Of each group of names the first one that is there counts.
    ///
    /// # Errors
    /// A name that is no repository, or files that are neither in the cache nor can be fetched: the message says what to do.
    pub fn locate(&self, place: &Path, wanted: &[&[&str]]) -> Result<PathBuf, HubError> {
        let Some(repository) = Repository::parse(place)? else { return Ok(place.to_owned()) };
        let snapshot = self.snapshot(&repository)?;
        let is_here = |file: &&str| snapshot.as_ref().is_some_and(|dir| dir.join(file).is_file());
        let missing: Vec<&[&str]> =
            wanted.iter().copied().filter(|names| !names.iter().any(&is_here)).collect();
        if let (Some(dir), true) = (&snapshot, missing.is_empty()) {
            return Ok(dir.clone());
        }
        self.fetch(&repository, &missing)?;
        let fetched = self
            .snapshot(&repository)?
            .filter(|dir| wanted.iter().all(|names| names.iter().any(|name| dir.join(name).is_file())));
        fetched.ok_or_else(|| {
            let obstacle = "a download did not bring them all of one commit; name the commit as revision, or remove the repository's directory there";
            self.missing(&repository, &missing, obstacle.into())
        })
    }

    /// Where the cache holds a revision: under the commit that it was last seen to be, or under the commit that it is.
    fn snapshot(&self, repository: &Repository) -> Result<Option<PathBuf>, HubError> {
        let folder = self.cache.join(repository.folder());
        let reference = folder.join("refs").join(&repository.revision);
        let commit = match std::fs::read_to_string(&reference) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => repository.revision.clone(),
        };
        if reference.is_file() && !is_plain_name(&commit) {
            return Err(HubError::Reference { path: reference });
        }
        Ok(Some(folder.join("snapshots").join(commit)).filter(|dir| dir.is_dir()))
    }

    fn missing(&self, repository: &Repository, files: &[&[&str]], obstacle: String) -> HubError {
        let files: Vec<String> = files.iter().map(|names| format!("`{}`", names.join("` or `"))).collect();
        HubError::Missing {
            files: files.join(", "),
            repository: repository.name.clone(),
            revision: repository.revision.clone(),
            cache: self.cache.clone(),
            obstacle,
        }
    }

    #[cfg(not(feature = "hub"))]
    fn fetch(&self, repository: &Repository, files: &[&[&str]]) -> Result<(), HubError> {
        let obstacle = "this program was built without downloads; build it with `--features hub`, or fetch them with `hf download` or by \
                        hand and give their directory";
        Err(self.missing(repository, files, obstacle.into()))
    }

    #[cfg(feature = "hub")]
    fn fetch(&self, repository: &Repository, files: &[&[&str]]) -> Result<(), HubError> {
        use hf_hub::{Cache, Repo, RepoType, api::sync::ApiBuilder};
        if self.offline {
            let obstacle = "HF_HUB_OFFLINE forbids fetching; run once without it, set HF_HUB_CACHE to a cache that has them, or give their directory";
            return Err(self.missing(repository, files, obstacle.into()));
        }
        let failed = |reason: String| {
            self.missing(repository, files, format!("cannot be fetched: {reason}; check the name and the network, set HF_TOKEN for what is not public, or give their directory"))
        };
        let endpoint = self.endpoint.clone().unwrap_or_else(|| DEFAULT_ENDPOINT.into());
        let api = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_endpoint(endpoint)
            .with_token(self.token.clone())
            .with_progress(false)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        let repo = Repo::with_revision(repository.name.clone(), RepoType::Model, repository.revision.clone());
        let repo = api.repo(repo);
        for names in files {
            // The names of a group are alternatives: a repository has one of them. Only its word that it has not got one leads to the next;
            // anything else (the network, a token that is not accepted) would bring another file than the one that is there.
            let mut refusals = Vec::new();
            for name in *names {
                let Err(error) = repo.download(name) else {
                    refusals.clear();
                    break;
                };
                refusals.push(format!("`{name}`: {error}"));
                if !is_absent(&error) {
                    break;
                }
            }
            if !refusals.is_empty() {
                return Err(failed(refusals.join(", ")));
            }
        }
        Ok(())
    }
}

/// Whether the hub says that there is no such file. The type of its client's errors is not ours to name, so its words count.
#[cfg(feature = "hub")]
fn is_absent(error: &hf_hub::api::sync::ApiError) -> bool {
    matches!(error, hf_hub::api::sync::ApiError::RequestError(e) if e.to_string() == "http status: 404")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(cache: &Path) -> Hub {
        Hub { cache: cache.to_owned(), offline: true, endpoint: None, token: None }
    }

    /// A cache as the hub's library leaves it.
    fn planted(files: &[&str]) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--org--model.v1");
        let snapshot = repository.join("snapshots/0123abcd");
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir_all(repository.join("refs/pr")).unwrap();
        std::fs::write(repository.join("refs/main"), "0123abcd").unwrap();
        std::fs::write(repository.join("refs/pr/7"), "0123abcd\n").unwrap();
        for file in files {
            std::fs::write(snapshot.join(file), file).unwrap();
        }
        cache
    }

    const WANTED: [&[&str]; 2] = [&["config.json"], &["model.safetensors", "pytorch_model.bin"]];

    #[test]
    fn a_planted_cache_answers_by_branch_reference_and_commit() {
        let cache = planted(&["config.json", "pytorch_model.bin"]);
        let found = cache.path().join("models--org--model.v1/snapshots/0123abcd");
        for place in [
            "hf://org/model.v1",
            "hf://org/model.v1@main",
            "hf://org/model.v1@pr/7",
            "hf://org/model.v1@0123abcd",
        ] {
            assert_eq!(hub(cache.path()).locate(Path::new(place), &WANTED).unwrap(), found, "{place}");
        }
    }

    #[test]
    fn a_directory_is_its_own_answer() {
        let place = Path::new("runs/hf/model");
        assert_eq!(hub(Path::new("nowhere")).locate(place, &WANTED).unwrap(), place);
    }

    #[test]
    fn a_miss_names_repository_revision_cache_files_and_what_to_do() {
        let cache = planted(&["config.json"]);
        for (place, revision, files) in [
            ("hf://org/model.v1", "main", "`model.safetensors` or `pytorch_model.bin`"),
            ("hf://org/model.v1@v2", "v2", "`config.json`, `model.safetensors`"),
        ] {
            let error = hub(cache.path()).locate(Path::new(place), &WANTED).unwrap_err().to_string();
            let remedy = if cfg!(feature = "hub") { "HF_HUB_OFFLINE forbids" } else { "`--features hub`" };
            for part in [
                "`org/model.v1`",
                &format!("`{revision}`"),
                files,
                &cache.path().display().to_string(),
                remedy,
            ] {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
            assert!(!error.contains("config.json") || revision == "v2", "{error}");
        }
    }

    #[test]
    fn names_and_references_that_lead_elsewhere_are_refused() {
        for place in [
            "hf://",
            "hf://a/b/c",
            "hf://../x",
            "hf://a/..",
            "hf://a//b",
            "hf://a--b/c",
            "hf://a/b@",
            "hf://a/b@../../c",
            "hf://a/b@/etc",
        ] {
            let error = Repository::parse(Path::new(place)).unwrap_err().to_string();
            assert!(error.contains(&format!("`{place}`")) && error.contains("hf://org/name"), "{error}");
        }
        let cache = planted(&["config.json"]);
        std::fs::write(cache.path().join("models--org--model.v1/refs/main"), "../../..").unwrap();
        let error = hub(cache.path()).locate(Path::new("hf://org/model.v1"), &WANTED).unwrap_err();
        assert!(error.to_string().contains("refs/main"), "{error}");
    }

    #[test]
    fn the_environment_decides_as_in_the_hubs_own_library() {
        let of = |pairs: &[(&str, &str)]| {
            let value = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            Hub::from_variables(value, Some("/home/me".into()))
        };
        for (pairs, cache) in [
            (&[][..], "/home/me/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")], "/c"),
            (&[("HF_HUB_CACHE", ""), ("HF_HOME", "/h")], "/h/hub"),
        ] {
            assert_eq!(of(pairs).cache, Path::new(cache), "{pairs:?}");
        }
        for (value, offline) in [("1", true), ("TRUE", true), ("yes", true), ("0", false), ("", false)] {
            assert_eq!(of(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
        let hub = of(&[("HF_ENDPOINT", "http://mirror"), ("HF_TOKEN", "secret")]);
        assert_eq!((hub.endpoint.as_deref(), hub.token.as_deref()), (Some("http://mirror"), Some("secret")));
    }

    /// A hub that knows `org/model` with a few files and cannot give `broken` for the moment; it ends with the process.
    #[cfg(feature = "hub")]
    fn server(files: &'static [&'static str], broken: &'static str) -> String {
        use std::io::{BufRead, BufReader, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let request = lines.next().unwrap_or_default();
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let file = files
                    .iter()
                    .find(|file| request.starts_with(&format!("GET /org/model/resolve/main/{file} ")));
                let answer = match file {
                    None if !broken.is_empty() && request.contains(broken) => {
                        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                            .into()
                    }
                    None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
                    Some(file) => {
                        let probes = head.iter().any(|line| line.ends_with("bytes=0-0"));
                        let body = if probes { &file[..1] } else { file };
                        format!(
                            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{}/{}\r\nContent-Length: {}\r\n\
                             ETag: \"{file}\"\r\nX-Repo-Commit: 89ef\r\nConnection: close\r\n\r\n{body}",
                            body.len() - 1,
                            file.len(),
                            body.len()
                        )
                    }
                };
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    #[cfg(feature = "hub")]
    fn what_is_missing_is_fetched_once_and_then_found_offline() {
        let cache = tempfile::tempdir().unwrap();
        let place = Path::new("hf://org/model");
        let endpoint = Some(server(&["config.json", "pytorch_model.bin"], ""));
        let online = Hub { offline: false, endpoint, ..hub(cache.path()) };
        let found = online.locate(place, &WANTED).unwrap();
        assert_eq!(found, cache.path().join("models--org--model/snapshots/89ef"));
        assert_eq!(std::fs::read_to_string(found.join("config.json")).unwrap(), "config.json");
        assert_eq!(hub(cache.path()).locate(place, &WANTED).unwrap(), found);
        let error = online.locate(place, &[&["other.json"]]).unwrap_err().to_string();
        assert!(error.contains("`other.json`") && error.contains("404"), "{error}");
    }

    #[test]
    #[cfg(feature = "hub")]
    fn only_a_file_that_the_hub_has_not_got_leads_to_its_alternative_and_every_refusal_is_told() {
        let place = Path::new("hf://org/model");
        let asked = |endpoint: String| {
            let cache = tempfile::tempdir().unwrap();
            let online = Hub { offline: false, endpoint: Some(endpoint), ..hub(cache.path()) };
            let error = online.locate(place, &WANTED).unwrap_err().to_string();
            (error, cache.path().join("models--org--model/snapshots/89ef/pytorch_model.bin").exists())
        };
        let (error, other) = asked(server(&["config.json", "pytorch_model.bin"], "model.safetensors"));
        assert!(error.contains("`model.safetensors`: ") && error.contains("503") && !other, "{error}");
        let (error, _) = asked(server(&["config.json"], "pytorch_model.bin"));
        for part in ["`model.safetensors`: ", "404", "`pytorch_model.bin`: ", "503"] {
            assert!(error.contains(part), "{part} is not in: {error}");
        }
    }

    #[test]
    fn a_hub_that_is_shown_for_debugging_keeps_its_token_to_itself() {
        let hub = Hub { token: Some("hf_secret".into()), ..hub(Path::new("cache")) };
        let shown = format!("{hub:?}");
        assert!(!shown.contains("secret") && shown.contains("hidden"), "{shown}");
    }
}
