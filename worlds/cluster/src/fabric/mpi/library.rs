//! The MPI library of this machine, loaded when the process runs: which files are tried, in which
//! order, and how it is found out what was loaded. It hands out addresses by name; it never starts
//! MPI, and it never unloads anything.
//!
//! A library shows what it is: by what it exports, and by two entry points that may be
//! called before MPI is started. The name of a file only decides when it is tried.

use super::abi::{Abi, Family, LONGEST_VERSION, SUCCESS};
use crate::fabric::process::launcher::{Launcher, Maker};
use libloading::os::unix;
use std::ffi::{OsStr, OsString, c_char, c_int, c_void};
use std::mem::{ManuallyDrop, transmute_copy};
use std::path::{Path, PathBuf};

/// Shared objects of Open MPI 4 and 5.
const OPEN_MPI: &[&str] = &["libmpi.so.40"];
/// Shared objects of MPICH and its kin; the first name is the one that they agreed on, the second
/// that of systems on which the first one would belong to another interface.
const MPICH: &[&str] = &["libmpi.so.12", "libmpich.so.12", "libmpi_cray.so.12"];
/// Shared objects with the interface of the MPI standard, by whomever, and last the name under
/// which anything may stand.
const ANYBODY: &[&str] = &["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi_abi.so", "libmpi.so"];

/// Programs that start ranks and stand beside the library that they can connect.
const LAUNCHERS: &[&str] = &[
    "mpirun",
    "mpiexec",
    "orterun",
    "orted",
    "prterun",
    "prted",
    "prte",
    "mpiexec.hydra",
    "mpiexec.gforker",
    "hydra_pmi_proxy",
];
/// Where, seen from the folder of the launcher, the libraries of the same installation are.
const BESIDE: &[&str] = &["../lib", "../lib64", "../lib/release"];

/// A library that was loaded and understood.
pub(crate) struct Library {
    /// Never closed: MPI leaves threads, memory hooks and exit handlers behind.
    file: ManuallyDrop<unix::Library>,
    name: String,
    abi: &'static Abi,
    maker: Option<Maker>,
    version: String,
    launcher: Option<Launcher>,
}

/// No usable library: the machine's fault, or that of who named the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// None of the files that were tried.
    #[error(
        "{} started this process, and no MPI library that fits was found; tried {}; install the \
         run-time library of the MPI whose launcher this is and put its folder into \
         LD_LIBRARY_PATH, or name the file with --mpi-lib",
        launcher.unwrap_or("no launcher"),
        tried.join("; ")
    )]
    NotFound {
        /// Who started us, if anybody did.
        launcher: Option<&'static str>,
        /// For each file that was tried, why it is not used.
        tried: Vec<String>,
    },
    /// The file that was asked for.
    #[error("--mpi-lib: {reason}; name the shared object of an MPI library (libmpi.so.40, say)")]
    Given {
        /// Why it is not used.
        reason: String,
    },
    /// A library without something that every one has.
    #[error(
        "{library} exports no {name}: it is no whole MPI library; name another one with --mpi-lib"
    )]
    Missing {
        /// The file.
        library: String,
        /// What it should have.
        name: &'static str,
    },
}

impl Library {
    /// Loads the library that fits the launcher; or the file `given`, and then no other.
    ///
    /// # Errors
    /// If none can be loaded and understood, with every file that was tried.
    pub(crate) fn load(
        launcher: Option<&Launcher>,
        given: Option<&Path>,
    ) -> Result<Library, LoadError> {
        let of = |found: Library| Library { launcher: launcher.cloned(), ..found };
        if let Some(file) = given {
            let found =
                Library::open(file.as_os_str()).map_err(|reason| LoadError::Given { reason });
            return Ok(of(found?.published(file.as_os_str())));
        }
        let mut tried = Vec::new();
        let hint = launcher.and_then(Launcher::family_hint);
        for file in candidates(hint, parent_program().as_deref()) {
            match Library::open(&file).and_then(|found| found.fitting(launcher)) {
                Ok(found) => return Ok(of(found.published(&file))),
                Err(reason) => tried.push(reason),
            }
        }
        Err(LoadError::NotFound { launcher: launcher.map(Launcher::name), tried })
    }

    /// The file, as it was asked for.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Who started this process.
    pub(super) fn launcher(&self) -> Option<&Launcher> {
        self.launcher.as_ref()
    }

    /// How to talk to it.
    pub(crate) fn abi(&self) -> &'static Abi {
        self.abi
    }

    /// The first line of its version text.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// The entry point of this name.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// # Safety
    /// `F` must be the type of a pointer to a C function with the signature that this name has in
    /// the library's header.
    pub(super) unsafe fn function<F: Copy>(&self, name: &'static str) -> Result<F, LoadError> {
        let address = self.address(name)?;
        // SAFETY: the address is not null, and the caller vouches for the signature.
        Ok(unsafe { as_function(address) })
    }

    /// The address of what has this name.
    ///
    /// # Errors
    /// If there is nothing.
    pub(super) fn address(&self, name: &'static str) -> Result<*mut c_void, LoadError> {
        address(&self.file, name)
            .ok_or_else(|| LoadError::Missing { library: self.name.clone(), name })
    }

    /// Loads a file and reads what it is, or why it cannot be used. No other library sees its
    /// names yet: two MPI libraries that see one another's call each other by mistake.
    fn open(file: &OsStr) -> Result<Library, String> {
        let name = file.to_string_lossy().into_owned();
        // SAFETY: loading runs the initialisers of the library and of what it needs. This is a
        // library that the user's launcher or the user chose, no more and no less trusted than one
        // that the program would be linked with.
        let opened = unsafe { unix::Library::open(Some(file), unix::RTLD_NOW | unix::RTLD_LOCAL) };
        let loaded = opened.map_err(|error| {
            let text = error.to_string();
            if text.contains(&name) { text } else { format!("{name}: {text}") }
        })?;
        let loaded = ManuallyDrop::new(loaded);
        let about = About::ask(&loaded).ok_or_else(|| format!("{name}: is no MPI library"))?;
        let family = about.family().ok_or_else(|| {
            let version = &about.version;
            format!("{name}: an MPI library of an unknown kind ({version})")
        })?;
        let (maker, version) = (about.maker(), about.version);
        Ok(Library { file: loaded, name, abi: family.abi(), maker, version, launcher: None })
    }

    /// The library, if this launcher can connect it as far as is known.
    fn fitting(self, launcher: Option<&Launcher>) -> Result<Library, String> {
        let only = launcher.and_then(Launcher::connects_only);
        match only.zip(self.maker).filter(|(only, maker)| only != maker) {
            Some((only, maker)) => {
                let name = &self.name;
                Err(format!("{name}: belongs to {maker}, and this launcher to {only}"))
            }
            None => Ok(self),
        }
    }

    /// The library, its names visible to all that is loaded from now on: plugins need them.
    fn published(self, file: &OsStr) -> Library {
        // SAFETY: the library is loaded already and stays so; this only widens who sees its names.
        let again = unsafe { unix::Library::open(Some(file), unix::RTLD_NOW | unix::RTLD_GLOBAL) };
        if let Err(error) = again.map(ManuallyDrop::new) {
            tracing::warn!(%error, "the MPI library was loaded, but not for its plugins");
        }
        self
    }
}

/// What a library reports of itself before MPI is started.
struct About {
    /// The interface of the MPI standard that it has, if it reports one.
    standard: bool,
    /// It has, or stands on, the objects of Open MPI.
    open_mpi: bool,
    /// It has what programs that were compiled with MPICH's header need of it.
    mpich: bool,
    version: String,
}

impl About {
    /// `None` if it has not even the entry points of MPI.
    fn ask(file: &unix::Library) -> Option<About> {
        address(file, "MPI_Init_thread")?;
        let version = address(file, "MPI_Get_library_version")?;
        // SAFETY: this is the signature of `MPI_Get_library_version`, which has no handles and so
        // is the same in every interface.
        let version: unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int =
            unsafe { as_function(version) };
        let has = |name| address(file, name).is_some();
        Some(About {
            standard: speaks_standard(file),
            open_mpi: has("ompi_mpi_comm_world"),
            mpich: has("MPIR_Dup_fn"),
            version: version_text(version),
        })
    }

    /// The interface. Libraries with the standard's report it, and only they; what stands
    /// below it may still be seen from outside, so this counts first.
    fn family(&self) -> Option<Family> {
        match self {
            About { standard: true, .. } => Some(Family::Standard),
            About { open_mpi: true, .. } => Some(Family::OpenMpi),
            About { mpich: true, .. } => Some(Family::Mpich),
            _ => None,
        }
    }

    /// Its maker; `None` if that is not known.
    fn maker(&self) -> Option<Maker> {
        let says = |names: &[&str]| names.iter().any(|name| self.version.contains(name));
        if self.open_mpi || says(&["Open MPI"]) {
            Some(Maker::OpenMpi)
        } else if self.mpich || says(&["MPICH", "Intel(R) MPI", "MVAPICH"]) {
            Some(Maker::Mpich)
        } else {
            None
        }
    }
}

/// Whether the library has the interface of the MPI standard (MPI 5.0, section 20.2): one that does
/// not either lacks the question or answers with a negative version.
fn speaks_standard(file: &unix::Library) -> bool {
    let Some(ask) = address(file, "MPI_Abi_get_version") else { return false };
    // SAFETY: this is the signature of `MPI_Abi_get_version`, which has no handles and so is the
    // same in every interface.
    let ask: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = unsafe { as_function(ask) };
    let (mut major, mut minor) = (-1, -1);
    // SAFETY: it may be called before MPI is started, and writes one number to each pointer.
    let code = unsafe { ask(&raw mut major, &raw mut minor) };
    code == SUCCESS && major >= 1
}

/// The version text of the library, up to where it begins to describe how it was built.
fn version_text(ask: unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int) -> String {
    let mut text = vec![0_u8; LONGEST_VERSION];
    let mut len = 0;
    // SAFETY: it may be called before MPI is started, and writes at most as many bytes as the
    // longest text of any library has, and their number.
    let code = unsafe { ask(text.as_mut_ptr().cast(), &raw mut len) };
    if code != SUCCESS {
        return "it does not say which".to_owned();
    }
    let text = text.split(|byte| matches!(byte, 0 | b'\n' | b',')).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The address of what has this name in the library or in what it needs.
fn address(file: &unix::Library, name: &str) -> Option<*mut c_void> {
    // SAFETY: the type is that of a plain address; nothing is read from there or called.
    let found = unsafe { file.get::<*mut c_void>(name.as_bytes()) };
    found.ok().map(|symbol| *symbol).filter(|address| !address.is_null())
}

/// The address as a pointer to a function.
///
/// # Safety
/// `F` must be the type of a pointer to a C function, and `address` not null and that of a function
/// with this signature.
unsafe fn as_function<F: Copy>(address: *mut c_void) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: both are pointers of one size, as `dlsym` itself takes for granted.
    unsafe { transmute_copy::<*mut c_void, F>(&address) }
}

/// The files to try, in order: what stands beside the launcher, then what the system finds by name.
fn candidates(hint: Option<Maker>, launcher: Option<&Path>) -> Vec<OsString> {
    let (own, other) = match hint {
        Some(Maker::Mpich) => (MPICH, OPEN_MPI),
        Some(Maker::OpenMpi) | None => (OPEN_MPI, MPICH),
    };
    let known = |program: &&Path| {
        let name = program.file_name().and_then(OsStr::to_str);
        hint.is_some() && name.is_some_and(|name| LAUNCHERS.contains(&name))
    };
    let folder = launcher.filter(known).and_then(Path::parent);
    let places =
        folder.into_iter().flat_map(|folder| BESIDE.iter().map(|place| folder.join(place)));
    let files = places.flat_map(|place| own.iter().map(move |name| place.join(name)));
    let there = files.filter(|file| file.exists()).map(PathBuf::into_os_string);
    // Without a hint, the names under which anybody's library may stand come last.
    let named = if hint.is_some() { [own, ANYBODY, other] } else { [own, other, ANYBODY] };
    there.chain(named.into_iter().flatten().map(OsString::from)).collect()
}

/// The program that started this process, where the system shows it.
fn parent_program() -> Option<PathBuf> {
    let parent = std::os::unix::process::parent_id();
    std::fs::read_link(format!("/proc/{parent}/exe")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launcher(environment: &[(&str, &str)]) -> Launcher {
        let find = |name: &str| environment.iter().find(|(key, _)| *key == name);
        Launcher::detect(&|name| find(name).map(|(_, value)| (*value).to_owned()))
            .expect("a launcher")
    }

    fn of_open_mpi() -> Launcher {
        launcher(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "2")])
    }

    #[test]
    fn what_a_library_exports_says_what_it_is() {
        use Family::{Mpich, OpenMpi, Standard};
        for (standard, open_mpi, mpich, version, family, maker) in [
            (false, true, false, "Open MPI v4.1.4", Some(OpenMpi), Some(Maker::OpenMpi)),
            (false, true, false, "Somebody's MPI", Some(OpenMpi), Some(Maker::OpenMpi)),
            (false, false, true, "MPICH Version: 4.0.2", Some(Mpich), Some(Maker::Mpich)),
            (false, false, true, "Somebody's MPI", Some(Mpich), Some(Maker::Mpich)),
            (true, false, false, "MPICH Version: 5.0.2", Some(Standard), Some(Maker::Mpich)),
            (true, false, true, "Intel(R) MPI Library", Some(Standard), Some(Maker::Mpich)),
            // It stands on the library that has the objects.
            (true, true, false, "Open MPI v6.0.0", Some(Standard), Some(Maker::OpenMpi)),
            (true, false, false, "Open MPI v6.0.0", Some(Standard), Some(Maker::OpenMpi)),
            (true, false, false, "Somebody's MPI", Some(Standard), None),
            (false, false, false, "Somebody's MPI", None, None),
        ] {
            let about = About { standard, open_mpi, mpich, version: version.to_owned() };
            assert_eq!(about.family(), family, "{version}");
            assert_eq!(about.maker(), maker, "{version}");
        }
    }

    #[test]
    fn the_launcher_says_which_files_come_first() {
        let order = |hint| {
            let files = candidates(hint, None).into_iter();
            files.map(|file| file.into_string().expect("a name")).collect::<Vec<_>>().join(" ")
        };
        let (open_mpi, mpich) = (OPEN_MPI.join(" "), MPICH.join(" "));
        let anybody = ANYBODY.join(" ");
        assert_eq!(order(Some(Maker::OpenMpi)), format!("{open_mpi} {anybody} {mpich}"));
        assert_eq!(order(Some(Maker::Mpich)), format!("{mpich} {anybody} {open_mpi}"));
        assert_eq!(order(None), format!("{open_mpi} {mpich} {anybody}"));
    }

    #[test]
    fn the_library_beside_the_launcher_comes_before_all_others() {
        let prefix = tempfile::tempdir().expect("a folder");
        for folder in ["bin", "lib"] {
            std::fs::create_dir(prefix.path().join(folder)).expect("a folder");
        }
        for file in ["lib/libmpi.so.40", "lib/libmpi.so.12"] {
            std::fs::write(prefix.path().join(file), "").expect("a file");
        }
        for (hint, program, wanted) in [
            (Some(Maker::OpenMpi), "prterun", Some("bin/../lib/libmpi.so.40")),
            (Some(Maker::Mpich), "hydra_pmi_proxy", Some("bin/../lib/libmpi.so.12")),
            (Some(Maker::OpenMpi), "bash", None),
            (None, "mpirun", None),
        ] {
            let program = prefix.path().join("bin").join(program);
            let first = candidates(hint, Some(&program)).into_iter().next();
            let wanted = wanted.map(|file| prefix.path().join(file).into_os_string());
            let plain = candidates(hint, None).into_iter().next();
            assert_eq!(first, wanted.or(plain), "{}", program.display());
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_reason_and_the_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("libmpi.so.40");
        std::fs::write(&text, "INPUT(elsewhere)").expect("a file");
        for (file, wanted) in [
            (Path::new("/nowhere/libmpi.so.40"), "/nowhere/libmpi.so.40: cannot open shared"),
            (&text, "libmpi.so.40: file too short"),
            (Path::new("libm.so.6"), "libm.so.6: is no MPI library"),
        ] {
            let error = Library::load(Some(&of_open_mpi()), Some(file)).map(|_| ()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(wanted), "{error}");
            assert!(error.starts_with("--mpi-lib: "), "{error}");
        }
    }

    #[test]
    #[ignore = "needs the libraries of Open MPI and MPICH; scripts/test runs it"]
    fn real_libraries_say_what_they_are_and_fit_their_launchers_only() {
        let of_mpich = launcher(&[("PMI_RANK", "0"), ("PMI_SIZE", "2"), ("HYDI_CONTROL_FD", "7")]);
        let anybody = launcher(&[("FLUX_TASK_RANK", "0"), ("FLUX_JOB_SIZE", "2")]);
        for (file, family, version, own, other) in [
            ("libmpi.so.40", Family::OpenMpi, "Open MPI v", of_open_mpi(), &of_mpich),
            ("libmpich.so.12", Family::Mpich, "MPICH Version:", of_mpich.clone(), &of_open_mpi()),
        ] {
            let open = || Library::open(OsStr::new(file)).expect(file);
            assert_eq!(open().abi().family, family);
            assert!(open().version().starts_with(version), "{file}: {}", open().version());
            for fits in [Some(&own), Some(&anybody), None] {
                assert!(open().fitting(fits).is_ok(), "{file}: {fits:?}");
            }
            let error = open().fitting(Some(other)).map(|_| ()).unwrap_err();
            assert!(error.starts_with(&format!("{file}: belongs to ")), "{error}");
        }
    }

    #[test]
    fn every_file_that_was_tried_is_named() {
        let tried = vec!["libmpi.so.40: cannot open".to_owned(), "libmpi.so: no".to_owned()];
        let error = LoadError::NotFound { launcher: Some(of_open_mpi().name()), tried }.to_string();
        for wanted in ["mpirun of Open MPI started", "cannot open; libmpi.so: no; ", "--mpi-lib"] {
            assert!(error.contains(wanted), "{wanted}: {error}");
        }
    }
}
