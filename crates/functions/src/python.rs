//! The Python that runs functions: which one it is, and what of the machine it needs to see. Asked of itself, once.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::FunctionsError;

/// An interpreter.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    /// The program itself, no shim.
    pub program: PathBuf,
    /// `3.11.7`.
    pub version: String,
    /// Files and folders that it reads: itself, its library, what it was made from.
    pub reads: Vec<PathBuf>,
}

const ASK: &str = "
import json, os, sys, sysconfig
files = [sys.executable, getattr(sys, '_base_executable', None)]
files += [os.path.realpath(file) for file in files if file]
names = ('stdlib', 'platstdlib', 'purelib', 'platlib')
folders = [sysconfig.get_path(name) for name in names] + [sysconfig.get_config_var('LIBDIR')] + sys.path
print(json.dumps({
    'program': sys.executable,
    'version': '.'.join(str(part) for part in sys.version_info[:3]),
    'prefixes': [sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix],
    'files': [file for file in files if file],
    'folders': [folder for folder in folders if folder],
}))
";

#[derive(Deserialize)]
struct Told {
    program: PathBuf,
    version: String,
    prefixes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

impl Python {
    /// Asks the interpreter of this name or path. It may be a shim; the one that answers is the one that is used.
    pub(crate) fn find(python: &Path) -> Result<Python, FunctionsError> {
        let failed = |why: String| FunctionsError::Python { python: python.to_owned(), why };
        let output = Command::new(python)
            .args(["-c", ASK])
            // What the operator's shell has set for other programs is not the functions'.
            .env_remove("PYTHONPATH")
            .env_remove("PYTHONHOME")
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(failed(format!("{}: {}", output.status, said.lines().last().unwrap_or_default())));
        }
        let told: Told = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        if told.program.as_os_str().is_empty() {
            return Err(failed("it does not know where it is".to_owned()));
        }
        // A prefix such as /usr holds everything; of those only the library is needed.
        let shared = |path: &Path| ["/", "/usr", "/usr/local"].iter().any(|shared| path == Path::new(shared));
        let mut reads: Vec<PathBuf> = told.prefixes.into_iter().filter(|path| !shared(path)).collect();
        reads.extend(told.files);
        reads.extend(told.folders.into_iter().filter(|path| path.is_absolute() && !shared(path)));
        reads.sort();
        reads.dedup();
        Ok(Python { program: told.program, version: told.version, reads })
    }
}
