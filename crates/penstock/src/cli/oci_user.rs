//! `penstock oci-user`: who may sign requests as the `oci` command and OCI's SDKs do. The server makes the key pair, keeps the
//! public half, and hands the private one out once; here it becomes a folder that those programs take as it is.
//!
//! What the `oci` command must know beside a key is where to ask; it takes that from a second file (`oci_cli_rc`) or from a variable,
//! and from nowhere else. A profile that `~/.oci` has already is never touched: what is added stands behind it, under a name of its
//! own.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::manage::{items, of_instance, segment};
use super::output::{Column, Format, say};
use super::{CliError, Client};
use crate::serve::shell_quoted;
use crate::state::write_private;

const COLUMNS: &[Column] = &[
    ("NAME", "/name"),
    ("ROLE", "/role"),
    ("USER", "/user"),
    ("FINGERPRINT", "/fingerprint"),
    ("INSTANCE", "/instance"),
    ("DISABLED", "/disabled"),
    ("CREATED", "/created_at"),
];

/// `penstock oci-user`
#[derive(Debug, Subcommand)]
pub enum OciUserCommand {
    /// Make a user and write a folder with all that the `oci` command needs to ask this server
    #[command(after_help = "Examples:
  penstock oci-user create --out lab && . lab/env.sh
  oci logging log-group list
  penstock oci-user create --out lab --install --profile PENSTOCK
  oci --profile PENSTOCK logging log-group list
  penstock oci-user create --out sender --role ingest --name shipper

The folder has `config` and `key.pem` (the user), `oci_cli_rc` (this server and the root compartment) and `env.sh` (the variables \
that point the `oci` command at them), all for their owner alone; none is ever written over. --install adds the same as a \
profile to ~/.oci/config and ~/.oci/oci_cli_rc, behind those that are there. SDKs take the config file, and the server's address \
as `service_endpoint`.")]
    Create(CreateArgs),
    /// List users
    List {
        /// Of this instance only
        #[arg(long)]
        instance: Option<String>,
    },
    /// Let a user's key sign nothing more
    Disable {
        /// Its OCID
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        user: String,
    },
    /// Let a user's key sign again
    Enable {
        /// Its OCID
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        user: String,
    },
    /// End a user and its key; what it made stays
    Delete {
        /// Its OCID
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        user: String,
    },
}

/// `penstock oci-user create`
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name for people [default: that of the folder]
    #[arg(long)]
    name: Option<String>,
    /// What it may do: ingest, read or admin (admin includes both)
    #[arg(long, default_value = "admin", value_parser = ["ingest", "read", "admin"])]
    role: String,
    /// Its instance, which is its tenancy [default: the only one there is]
    #[arg(long)]
    instance: Option<String>,
    /// Add a profile to the files in ~/.oci, too
    #[arg(long)]
    install: bool,
    /// Name of that profile
    #[arg(long, value_name = "NAME", default_value = "PENSTOCK", value_parser = profile_name, requires = "install")]
    profile: String,
}

/// `penstock oci-user`
pub async fn run(client: &Client, command: OciUserCommand) -> Result<(), CliError> {
    match command {
        OciUserCommand::Create(args) => create(client, &args).await?,
        OciUserCommand::List { instance } => {
            let all = client.call(Method::GET, &of_instance("/api/oci-users", instance.as_deref()), None).await?;
            client.format.list(items(&all), COLUMNS, "There is no OCI user; `penstock oci-user create` makes one.");
        }
        OciUserCommand::Disable { user } => set(client, &user, "disable", "signs nothing more").await?,
        OciUserCommand::Enable { user } => set(client, &user, "enable", "signs again").await?,
        OciUserCommand::Delete { user } => {
            client.call(Method::DELETE, &user_path(&user), None).await?;
            client.format.remark(&format!("User {user} is ended, and its key with it."));
        }
    }
    Ok(())
}

async fn set(client: &Client, user: &str, verb: &str, done: &str) -> Result<(), CliError> {
    let changed = client.call(Method::POST, &format!("{}:{verb}", user_path(user)), None).await?;
    match client.format {
        Format::Table => client.format.remark(&format!("User {user} {done}.")),
        format => format.one(&changed),
    }
    Ok(())
}

async fn create(client: &Client, args: &CreateArgs) -> Result<(), CliError> {
    // All that can be in the way is looked for before a user is made whose key would have no place.
    let folder = Folder::free(&args.out)?;
    let installed = match args.install {
        true => Some(Installed::free(&args.profile)?),
        false => None,
    };
    let name = args.name.clone().or_else(|| Some(args.out.file_name()?.to_string_lossy().into_owned()));
    let body = json!({ "name": name, "role": args.role, "instance": args.instance });
    let mut made = client.call(Method::POST, "/api/oci-users", Some(&body)).await?;
    let key = made["private_key_pem"].take();
    let user = made["user"].as_str().unwrap_or_default().to_owned();
    let written = Settings::read(&made, client.base(), &folder.key).and_then(|settings| {
        folder.write(&settings, key.as_str().unwrap_or_default())?;
        installed.as_ref().map_or(Ok(()), |installed| installed.append(&settings))
    });
    if let Err(error) = written {
        // A user whose key nobody has is of no use to anybody.
        let _ = client.call(Method::DELETE, &user_path(&user), None).await;
        return Err(error);
    }
    let object = made.as_object_mut().expect("an answer that held a user is an object");
    object.remove("private_key_pem");
    object.insert("config".to_owned(), json!(folder.config.display().to_string()));
    object.insert("key_file".to_owned(), json!(folder.key.display().to_string()));
    object.insert("env".to_owned(), json!(folder.env.display().to_string()));
    match client.format {
        Format::Table => tell(args, &folder, installed.as_ref(), &made),
        format => format.one(&made),
    }
    Ok(())
}

fn tell(args: &CreateArgs, folder: &Folder, installed: Option<&Installed>, made: &Value) {
    let text = |name: &str| made[name].as_str().unwrap_or_default();
    let out = folder.config.parent().unwrap_or(Path::new(".")).display();
    say(&format!("Made user {} ({}) of tenancy {}.", text("name"), text("role"), text("tenancy")));
    say(&format!("Wrote config, key.pem, oci_cli_rc and env.sh to {out}. The key is kept nowhere else."));
    let profile = match installed {
        Some(installed) => {
            say(&format!("Added profile {} to {}.", args.profile, installed.folder.display()));
            format!(" --profile {}", args.profile)
        }
        None => {
            say(&format!("Use it:\n  . {}", shell_quoted(&folder.env)));
            String::new()
        }
    };
    say(&format!("  oci{profile} logging log-group list"));
}

fn user_path(user: &str) -> String {
    format!("/api/oci-users/{}", segment(user))
}

/// What the files say. Every value is one line of plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Settings {
    user: String,
    fingerprint: String,
    tenancy: String,
    region: String,
    endpoint: String,
    key_file: String,
}

impl Settings {
    fn read(made: &Value, endpoint: &str, key_file: &Path) -> Result<Settings, CliError> {
        let line = |name: &str| -> Result<String, CliError> {
            let text = made[name].as_str().unwrap_or_default();
            let is_plain = !text.is_empty() && text.chars().all(|char| char.is_ascii_graphic());
            is_plain
                .then(|| text.to_owned())
                .ok_or_else(|| CliError::Refused(format!("the server's answer has no usable {name}: {:?}", made[name])))
        };
        Ok(Settings {
            user: line("user")?,
            fingerprint: line("fingerprint")?,
            tenancy: line("tenancy")?,
            region: line("region")?,
            endpoint: endpoint.to_owned(),
            key_file: key_file.display().to_string(),
        })
    }

    /// Who signs, as `~/.oci/config` has it. The command ignores an endpoint here.
    fn user_profile(&self, name: &str) -> String {
        let Settings { user, fingerprint, tenancy, region, key_file, .. } = self;
        format!(
            "[{name}]\nuser={user}\nfingerprint={fingerprint}\ntenancy={tenancy}\nregion={region}\nkey_file={key_file}\n"
        )
    }

    /// Where to ask, and which compartment is meant where none is named, as `~/.oci/oci_cli_rc` has it.
    fn server_profile(&self, name: &str) -> String {
        format!("[{name}]\nendpoint={}\ncompartment-id={}\n", self.endpoint, self.tenancy)
    }
}

/// The folder that `--out` names.
struct Folder {
    config: PathBuf,
    key: PathBuf,
    rc: PathBuf,
    env: PathBuf,
}

impl Folder {
    /// A place where nothing would be written over. Paths in it are absolute: the `oci` command is started from anywhere.
    fn free(out: &Path) -> Result<Folder, CliError> {
        let out = std::path::absolute(out)
            .map_err(|error| CliError::Usage(format!("--out is {}: {error}", out.display())))?;
        if out.display().to_string().contains(['\n', '\r']) {
            return Err(CliError::Usage("--out has a line end in its name, which no profile can hold".to_owned()));
        }
        let folder = Folder {
            config: out.join("config"),
            key: out.join("key.pem"),
            rc: out.join("oci_cli_rc"),
            env: out.join("env.sh"),
        };
        for file in [&folder.config, &folder.key, &folder.rc, &folder.env] {
            if file.symlink_metadata().is_ok() {
                return Err(CliError::Refused(format!(
                    "{} exists; a key or its configuration is never written over another file",
                    file.display()
                )));
            }
        }
        Ok(folder)
    }

    fn write(&self, settings: &Settings, key: &str) -> Result<(), CliError> {
        if !key.contains("PRIVATE KEY") {
            return Err(CliError::Refused("the server's answer has no private key".to_owned()));
        }
        // A last line as OCI's own key files have it: the command warns of keys without, each time.
        let key = format!("{}\n{KEY_LABEL}\n", key.trim_end());
        // The command takes the file of OCI_CLI_RC_FILE only where ~/.oci/oci_cli_rc is not, the variable for the address always.
        let env = format!(
            "export OCI_CLI_CONFIG_FILE={} OCI_CLI_RC_FILE={}\nexport OCI_CLI_ENDPOINT={}\n",
            shell_quoted(&self.config),
            shell_quoted(&self.rc),
            settings.endpoint
        );
        for (file, content) in [
            (&self.key, key),
            (&self.config, settings.user_profile("DEFAULT")),
            (&self.rc, settings.server_profile("DEFAULT")),
            (&self.env, env),
        ] {
            write_private(file, content.as_bytes())
                .map_err(|error| CliError::Refused(format!("cannot write {}: {error}", file.display())))?;
        }
        Ok(())
    }
}

const KEY_LABEL: &str = "OCI_API_KEY";

/// The files of `~/.oci`.
struct Installed {
    folder: PathBuf,
    profile: String,
}

impl Installed {
    /// The files, in both of which this profile is free: the command looks it up in both.
    fn free(profile: &str) -> Result<Installed, CliError> {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| CliError::Refused("--install needs HOME to know where ~/.oci is".to_owned()))?;
        Installed::free_in(&Path::new(&home).join(".oci"), profile)
    }

    fn free_in(folder: &Path, profile: &str) -> Result<Installed, CliError> {
        let installed = Installed { folder: folder.to_owned(), profile: profile.to_owned() };
        for file in [installed.config(), installed.rc()] {
            match std::fs::read_to_string(&file) {
                Ok(content) if profiles(&content).any(|found| found == profile) => {
                    return Err(CliError::Refused(format!(
                        "{} has a profile {profile} already, which is left as it is; choose another name with --profile NAME",
                        file.display()
                    )));
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(CliError::Refused(format!("cannot read {}: {error}", file.display()))),
            }
        }
        Ok(installed)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    fn rc(&self) -> PathBuf {
        self.folder.join("oci_cli_rc")
    }

    /// Adds the profile behind what is there. Files are only ever added to, so that whatever else happens, what they had stays.
    fn append(&self, settings: &Settings) -> Result<(), CliError> {
        let add = |file: &Path, profile: &str| -> std::io::Result<()> {
            let mut opened = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(file)?;
            let before = std::fs::read_to_string(file)?;
            opened.write_all(addition(&before, profile).as_bytes())?;
            opened.sync_all()
        };
        let failed = |file: &Path, error| CliError::Refused(format!("cannot add to {}: {error}", file.display()));
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| failed(&self.folder, error))?;
        for (file, profile) in
            [(self.rc(), settings.server_profile(&self.profile)), (self.config(), settings.user_profile(&self.profile))]
        {
            add(&file, &profile).map_err(|error| failed(&file, error))?;
        }
        Ok(())
    }
}

/// What is added to a file so that the profile begins on a line of its own, behind an empty one.
fn addition(before: &str, profile: &str) -> String {
    let gap = match before {
        "" => "",
        before if before.ends_with("\n\n") => "",
        before if before.ends_with('\n') => "\n",
        _ => "\n\n",
    };
    format!("{gap}{profile}")
}

/// The names of a configuration's profiles.
fn profiles(content: &str) -> impl Iterator<Item = &str> {
    content.lines().filter_map(|line| line.trim().strip_prefix('[')?.split(']').next().map(str::trim))
}

fn profile_name(text: &str) -> Result<String, String> {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err("a profile's name has letters, digits, ., _ and - only".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made() -> Value {
        json!({
            "user": "ocid1.user.oc1..0a", "name": "lab", "role": "admin", "fingerprint": "20:3b:97",
            "tenancy": "ocid1.tenancy.oc1..0b", "region": "us-ashburn-1",
        })
    }

    const URL: &str = "http://127.0.0.1:8480";
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n";
    const FILES: [&str; 4] = ["config", "key.pem", "oci_cli_rc", "env.sh"];

    fn mode(file: &Path) -> u32 {
        std::fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_is_written_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("my lab");
        let folder = Folder::free(&out).unwrap();
        let settings = Settings::read(&made(), URL, &folder.key).unwrap();
        folder.write(&settings, PEM).unwrap();
        let at = out.display();
        for (file, content) in [
            (
                "config",
                format!(
                    "[DEFAULT]\nuser=ocid1.user.oc1..0a\nfingerprint=20:3b:97\ntenancy=ocid1.tenancy.oc1..0b\n\
                     region=us-ashburn-1\nkey_file={at}/key.pem\n"
                ),
            ),
            ("key.pem", format!("{PEM}OCI_API_KEY\n")),
            ("oci_cli_rc", format!("[DEFAULT]\nendpoint={URL}\ncompartment-id=ocid1.tenancy.oc1..0b\n")),
            (
                "env.sh",
                format!(
                    "export OCI_CLI_CONFIG_FILE='{at}/config' OCI_CLI_RC_FILE='{at}/oci_cli_rc'\n\
                     export OCI_CLI_ENDPOINT={URL}\n"
                ),
            ),
        ] {
            assert_eq!(std::fs::read_to_string(out.join(file)).unwrap(), content);
            assert_eq!(mode(&out.join(file)), 0o600, "{file}");
        }
        for file in FILES {
            let Err(error) = Folder::free(&out) else { panic!("{file} would be written over") };
            assert!(error.to_string().contains("exists"), "{error}");
            std::fs::remove_file(out.join(file)).unwrap();
        }
        assert!(Folder::free(&out).is_ok());
        assert!(folder.write(&settings, "no key").is_err() && !out.join("config").exists());
    }

    #[test]
    fn an_answer_that_no_profile_can_hold_is_refused() {
        for (field, value) in
            [("user", json!("a\nkey_file=/etc/shadow")), ("region", json!("")), ("tenancy", json!(null))]
        {
            let mut made = made();
            made[field] = value;
            let error = Settings::read(&made, URL, Path::new("/k")).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn what_is_installed_stands_beside_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let oci = dir.path().join(".oci");
        let settings = Settings::read(&made(), URL, Path::new("/k")).unwrap();
        Installed::free_in(&oci, "PENSTOCK").unwrap().append(&settings).unwrap();
        assert_eq!((mode(&oci), mode(&oci.join("config")), mode(&oci.join("oci_cli_rc"))), (0o700, 0o600, 0o600));

        let theirs = "[DEFAULT]\nuser=theirs";
        std::fs::write(oci.join("config"), theirs).unwrap();
        std::fs::remove_file(oci.join("oci_cli_rc")).unwrap();
        Installed::free_in(&oci, "PENSTOCK").unwrap().append(&settings).unwrap();
        let config = std::fs::read_to_string(oci.join("config")).unwrap();
        assert_eq!(config, format!("{theirs}\n\n{}", settings.user_profile("PENSTOCK")));
        assert_eq!(std::fs::read_to_string(oci.join("oci_cli_rc")).unwrap(), settings.server_profile("PENSTOCK"));

        // Taken in one file is taken.
        for file in ["config", "oci_cli_rc"] {
            let Err(error) = Installed::free_in(&oci, "PENSTOCK") else { panic!("{file} would be altered") };
            assert!(error.to_string().contains("--profile NAME"), "{error}");
            std::fs::write(oci.join(file), "").unwrap();
        }
        assert!(Installed::free_in(&oci, "PENSTOCK").is_ok());
    }

    #[test]
    fn a_profile_is_added_behind_what_is_there() {
        for (before, added) in [
            ("", "[A]\n"),
            ("[DEFAULT]\nuser=x\n", "\n[A]\n"),
            ("[DEFAULT]\nuser=x", "\n\n[A]\n"),
            ("[DEFAULT]\nuser=x\n\n", "[A]\n"),
        ] {
            assert_eq!(addition(before, "[A]\n"), added, "{before:?}");
        }
    }

    #[test]
    fn profiles_are_found_as_the_oci_command_finds_them() {
        let content = "# [NOT]\n[DEFAULT]\nuser=[x]\n  [two]  \n[three] ; a remark\n";
        assert_eq!(profiles(content).collect::<Vec<_>>(), ["DEFAULT", "two", "three"]);
        assert!(profile_name("A-b_1.c").is_ok());
        for bad in ["", "a]b", "a b", "ä"] {
            assert!(profile_name(bad).is_err(), "{bad:?}");
        }
    }
}
