//! The launcher that started this process as one rank of many, read from the environment that
//! launchers leave behind. It is given a way to look up a variable and reads nothing else; it
//! starts nothing, and the ranks and sizes that an MPI library reports are compared with this
//! elsewhere.
//!
//! A launcher starts daemons on other machines, often by another launcher, and a process inherits
//! the variables of both. So the order counts: a source that only its own launcher sets comes
//! first.

use std::fmt;

/// How this process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Our rank.
    pub rank: u32,
    /// Ranks of the job, if the launcher sets it; more than `rank`.
    pub size: Option<u32>,
    /// Our number among the ranks on this machine, if the launcher sets it.
    pub local_rank: Option<u32>,
    /// Ranks on this machine, if the launcher sets it; more than `local_rank`.
    pub local_size: Option<u32>,
    /// Which launcher it was.
    kind: LauncherKind,
    /// The maker of the library that works with this launcher.
    hint: Option<Maker>,
}

/// The launchers that are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LauncherKind {
    /// `mpirun` or `mpiexec` of Open MPI.
    OpenMpi,
    /// `mpiexec` of MPICH, Intel or another one with the process manager Hydra.
    Hydra,
    /// `flux run`.
    Flux,
    /// `mpiexec` of the Parallel Application Launch Service of Cray machines.
    Pals,
    /// A step of Slurm: `srun`.
    Slurm,
    /// Another launcher with PMIx.
    Pmix,
    /// Another launcher with PMI.
    Pmi,
}

/// The maker of a library, or of the library that a launcher can connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Open MPI, or what is made of it.
    OpenMpi,
    /// MPICH or its kin.
    Mpich,
}

/// Looks a variable of the environment up.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of one launcher. Of several names the first that is set counts.
struct LauncherVariables {
    kind: LauncherKind,
    /// If there are any, one of these must be set: others use the same names for rank and size.
    marks: &'static [&'static str],
    rank: &'static str,
    size: &'static [&'static str],
    size_known: bool,
    local_rank: &'static [&'static str],
    local_size: &'static [&'static str],
}

/// Launchers that may have been started by a workload manager, and must be asked before it.
const BEFORE_SLURM: &[LauncherVariables] = &[
    LauncherVariables {
        kind: LauncherKind::OpenMpi,
        marks: &[],
        rank: "OMPI_COMM_WORLD_RANK",
        size: &["OMPI_COMM_WORLD_SIZE"],
        size_known: true,
        local_rank: &["OMPI_COMM_WORLD_LOCAL_RANK"],
        local_size: &["OMPI_COMM_WORLD_LOCAL_SIZE"],
    },
    LauncherVariables {
        kind: LauncherKind::Hydra,
        marks: &["HYDI_CONTROL_FD", "MPI_LOCALNRANKS"],
        rank: "PMI_RANK",
        size: &["PMI_SIZE"],
        size_known: true,
        local_rank: &["MPI_LOCALRANKID"],
        local_size: &["MPI_LOCALNRANKS"],
    },
    LauncherVariables {
        kind: LauncherKind::Flux,
        marks: &[],
        rank: "FLUX_TASK_RANK",
        size: &["FLUX_JOB_SIZE"],
        size_known: true,
        local_rank: &["FLUX_TASK_LOCAL_ID"],
        local_size: &[],
    },
    LauncherVariables {
        kind: LauncherKind::Pals,
        marks: &[],
        rank: "PALS_RANKID",
        size: &["PMI_SIZE"],
        size_known: false,
        local_rank: &["PALS_LOCAL_RANKID"],
        local_size: &["PALS_LOCAL_SIZE", "PMI_LOCAL_SIZE"],
    },
];

/// Names that a step of Slurm sets, too.
const AFTER_SLURM: &[LauncherVariables] = &[
    LauncherVariables {
        kind: LauncherKind::Pmix,
        marks: &[],
        rank: "PMIX_RANK",
        size: &[],
        size_known: false,
        local_rank: &[],
        local_size: &[],
    },
    LauncherVariables {
        kind: LauncherKind::Pmi,
        marks: &[],
        rank: "PMI_RANK",
        size: &["PMI_SIZE"],
        size_known: true,
        local_rank: &["PMI_LOCAL_RANK"],
        local_size: &["PMI_LOCAL_SIZE"],
    },
];

/// Numbers of steps from here on are Slurm's own: the batch script, an interactive shell and the
/// like are steps of one task that nobody launched as a rank (`slurm.h`, `SLURM_BATCH_SCRIPT`,
/// `SLURM_INTERACTIVE_STEP`).
const FIRST_RESERVED_STEP: u32 = 0xffff_fff0;

impl Launcher {
    /// The launcher that started this process as a rank; `None` if none did. Values that make no
    /// sense (no number, a rank beyond the size) count as not set.
    #[must_use]
    pub fn detect(lookup: &dyn Fn(&str) -> Option<String>) -> Option<Launcher> {
        let first =
            |sources: &[LauncherVariables]| sources.iter().find_map(|source| source.read(lookup));
        let found =
            first(BEFORE_SLURM).or_else(|| slurm_step(lookup)).or_else(|| first(AFTER_SLURM))?;
        let is_set = |name: &str| lookup(name).is_some();
        let hint = match found.kind {
            LauncherKind::OpenMpi => Some(Maker::OpenMpi),
            LauncherKind::Hydra | LauncherKind::Pals | LauncherKind::Pmi => Some(Maker::Mpich),
            _ if is_set("PMIX_RANK") => Some(Maker::OpenMpi),
            _ => (is_set("PMI_RANK") || is_set("PMI_FD")).then_some(Maker::Mpich),
        };
        Some(Launcher { hint, ..found })
    }

    /// The launcher's name, for people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// This process's rank in the job.
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// How many processes of the job run on this host, if the launcher sets it.
    #[must_use]
    pub fn local_size(&self) -> Option<u32> {
        self.local_size
    }

    /// Ranks of the job, if the launcher sets it.
    #[must_use]
    pub fn size(&self) -> Option<u32> {
        self.size
    }

    /// Whose library is looked for first: a launcher with a library of its own has that; of the
    /// others, Open MPI supports PMIx best, and MPICH PMI.
    pub(crate) fn family_hint(&self) -> Option<Maker> {
        self.hint
    }

    /// Whose library alone it can connect: with the other maker's every process would come up as
    /// rank 0 of 1. Launchers with a common protocol may be able to connect both.
    pub(crate) fn connects_only(&self) -> Option<Maker> {
        matches!(self.kind, LauncherKind::OpenMpi | LauncherKind::Hydra)
            .then_some(self.hint)
            .flatten()
    }
}

impl LauncherKind {
    fn name(self) -> &'static str {
        match self {
            LauncherKind::OpenMpi => "mpirun of Open MPI",
            LauncherKind::Hydra => "mpiexec of MPICH or its kin",
            LauncherKind::Flux => "flux run",
            LauncherKind::Pals => "mpiexec of PALS",
            LauncherKind::Slurm => "srun",
            LauncherKind::Pmix => "a launcher with PMIx",
            LauncherKind::Pmi => "a launcher with PMI",
        }
    }
}

impl fmt::Display for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Maker::OpenMpi => "Open MPI",
            Maker::Mpich => "MPICH or its kin",
        })
    }
}

impl LauncherVariables {
    fn read(&self, lookup: Lookup<'_>) -> Option<Launcher> {
        let marked = self.marks.is_empty() || self.marks.iter().any(|name| lookup(name).is_some());
        if !marked {
            return None;
        }
        let rank = number(lookup, self.rank)?;
        let size = first_number(lookup, self.size);
        if self.size_known && size.is_none() {
            return None;
        }
        let local_rank = first_number(lookup, self.local_rank);
        let local_size = first_number(lookup, self.local_size);
        Launcher::checked(self.kind, (rank, size), (local_rank, local_size))
    }
}

impl Launcher {
    fn checked(
        kind: LauncherKind,
        (rank, size): (u32, Option<u32>),
        (local_rank, local_size): (Option<u32>, Option<u32>),
    ) -> Option<Launcher> {
        let beyond = |number: Option<u32>, end: Option<u32>| {
            number.zip(end).is_some_and(|(number, end)| number >= end)
        };
        if beyond(Some(rank), size) {
            return None;
        }
        // The numbers of this machine are a convenience: without them a rank is still a rank.
        let more = local_size.zip(size).is_some_and(|(here, all)| here > all);
        let wrong = more || beyond(local_rank, local_size);
        let (local_rank, local_size) = if wrong { (None, None) } else { (local_rank, local_size) };
        Some(Launcher { kind, rank, size, local_rank, local_size, hint: None })
    }
}

/// A task of a step that `srun` launched. An allocation alone launches no rank, and the daemons of
/// another launcher that were started by `srun` pass on a step that is not ours: then its rank
/// differs from theirs.
fn slurm_step(lookup: Lookup<'_>) -> Option<Launcher> {
    let step = number(lookup, "SLURM_STEP_ID").or_else(|| number(lookup, "SLURM_STEPID"))?;
    let rank = number(lookup, "SLURM_PROCID")?;
    let size = first_number(lookup, &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"])?;
    let other = |name: &str| number(lookup, name).is_some_and(|theirs| theirs != rank);
    if step >= FIRST_RESERVED_STEP || other("PMIX_RANK") || other("PMI_RANK") {
        return None;
    }
    let local_rank = number(lookup, "SLURM_LOCALID");
    let local_size = number(lookup, "SLURM_NODEID").and_then(|node| {
        let counts = lookup("SLURM_STEP_TASKS_PER_NODE")?;
        tasks_of_node(&counts, node)
    });
    Launcher::checked(LauncherKind::Slurm, (rank, Some(size)), (local_rank, local_size))
}

/// How many tasks run on the node with this number, from a list like `2(x3),1`: three nodes with
/// two tasks each, then one with one.
fn tasks_of_node(counts: &str, node: u32) -> Option<u32> {
    let mut first = 0_u32;
    for part in counts.split(',') {
        let (tasks, nodes) = match part.split_once("(x") {
            Some((tasks, nodes)) => (tasks, nodes.strip_suffix(')')?.parse().ok()?),
            None => (part, 1_u32),
        };
        first = first.checked_add(nodes)?;
        if node < first {
            return tasks.parse().ok();
        }
    }
    None
}

fn first_number(lookup: Lookup<'_>, names: &[&str]) -> Option<u32> {
    let value = names.iter().find_map(|name| lookup(name))?;
    value.parse().ok()
}

fn number(lookup: Lookup<'_>, name: &str) -> Option<u32> {
    first_number(lookup, &[name])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(environment: &str) -> Option<Launcher> {
        let find = |name: &str| {
            let pairs = environment.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        Launcher::detect(&find)
    }

    /// Name, rank/size, rank/size on this machine; `-` for what is not known.
    fn drawn(launcher: &Launcher) -> String {
        let number = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
        let Launcher { rank, size, local_rank, local_size, .. } = launcher;
        let (size, local_rank) = (number(*size), number(*local_rank));
        format!("{} {rank}/{size} {local_rank}/{}", launcher.name(), number(*local_size))
    }

    #[test]
    fn every_launcher_is_known_by_its_variables() {
        for (environment, wanted) in [
            (
                "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=8 OMPI_COMM_WORLD_LOCAL_RANK=1 \
                 OMPI_COMM_WORLD_LOCAL_SIZE=2 PMIX_RANK=3",
                "mpirun of Open MPI 3/8 1/2",
            ),
            (
                "PMI_RANK=1 PMI_SIZE=2 PMI_FD=8 HYDI_CONTROL_FD=7 MPI_LOCALRANKID=0 \
                 MPI_LOCALNRANKS=1",
                "mpiexec of MPICH or its kin 1/2 0/1",
            ),
            (
                "PMI_RANK=1 PMI_SIZE=2 MPI_LOCALRANKID=1 MPI_LOCALNRANKS=2",
                "mpiexec of MPICH or its kin 1/2 1/2",
            ),
            (
                "FLUX_TASK_RANK=2 FLUX_JOB_SIZE=4 FLUX_TASK_LOCAL_ID=0 PMI_RANK=2 PMI_SIZE=4",
                "flux run 2/4 0/-",
            ),
            ("PALS_RANKID=5 PALS_LOCAL_RANKID=1", "mpiexec of PALS 5/- 1/-"),
            (
                "PALS_RANKID=5 PALS_LOCAL_RANKID=1 PALS_LOCAL_SIZE=4 PMI_RANK=5 PMI_SIZE=8",
                "mpiexec of PALS 5/8 1/4",
            ),
            (
                "SLURM_JOB_ID=7 SLURM_STEP_ID=0 SLURM_PROCID=6 SLURM_STEP_NUM_TASKS=7 \
                 SLURM_NTASKS=9 SLURM_LOCALID=0 SLURM_NODEID=3 SLURM_STEP_TASKS_PER_NODE=2(x3),1",
                "srun 6/7 0/1",
            ),
            ("SLURM_STEP_ID=2 SLURM_PROCID=0 SLURM_NTASKS=9 PMIX_RANK=0", "srun 0/9 -/-"),
            ("SLURM_STEP_ID=2 SLURM_PROCID=1 SLURM_NTASKS=4 PMI_RANK=1 PMI_SIZE=4", "srun 1/4 -/-"),
            ("PMIX_RANK=4 PMIX_NAMESPACE=x", "a launcher with PMIx 4/- -/-"),
            ("PMI_RANK=4 PMI_SIZE=5 PMI_FD=3", "a launcher with PMI 4/5 -/-"),
        ] {
            let found = detect(environment);
            assert_eq!(found.as_ref().map(drawn).as_deref(), Some(wanted), "{environment}");
        }
    }

    #[test]
    fn a_launcher_that_another_one_started_is_believed() {
        for (environment, wanted) in [
            (
                "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 SLURM_STEP_ID=0 SLURM_PROCID=1 \
                 SLURM_STEP_NUM_TASKS=2",
                "mpirun of Open MPI 5/8 -/-",
            ),
            (
                "PMI_RANK=5 PMI_SIZE=8 HYDI_CONTROL_FD=7 SLURM_STEP_ID=0 SLURM_PROCID=1 \
                 SLURM_STEP_NUM_TASKS=2",
                "mpiexec of MPICH or its kin 5/8 -/-",
            ),
            (
                "PMIX_RANK=5 SLURM_STEP_ID=0 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2",
                "a launcher with PMIx 5/- -/-",
            ),
        ] {
            let found = detect(environment);
            assert_eq!(found.as_ref().map(drawn).as_deref(), Some(wanted), "{environment}");
        }
    }

    #[test]
    fn nobody_launched_a_process_by_itself() {
        for environment in [
            "",
            // An allocation, its batch script, its interactive shell.
            "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_NNODES=2",
            "SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0",
            "SLURM_STEP_ID=4294967290 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
            "SLURM_STEP_ID=4294967291 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1",
            // What makes no sense.
            "OMPI_COMM_WORLD_RANK=8 OMPI_COMM_WORLD_SIZE=8",
            "OMPI_COMM_WORLD_RANK=-1 OMPI_COMM_WORLD_SIZE=8",
            "OMPI_COMM_WORLD_RANK=x OMPI_COMM_WORLD_SIZE=8",
            "OMPI_COMM_WORLD_RANK=1",
            "PMI_RANK=1 PMI_SIZE= MPI_LOCALNRANKS=2",
            "FLUX_TASK_RANK=1",
            "PALS_RANKID=3 PMI_SIZE=3",
            "SLURM_STEP_ID=0 SLURM_PROCID=4 SLURM_STEP_NUM_TASKS=4",
            "PMIX_RANK=4294967296",
        ] {
            assert_eq!(detect(environment), None, "{environment}");
        }
    }

    #[test]
    fn nonsense_about_this_machine_costs_only_that() {
        for environment in [
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=2 \
             OMPI_COMM_WORLD_LOCAL_SIZE=2",
            "OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK=1 \
             OMPI_COMM_WORLD_LOCAL_SIZE=3",
        ] {
            let found = detect(environment).map(|found| drawn(&found));
            assert_eq!(found.as_deref(), Some("mpirun of Open MPI 1/2 -/-"), "{environment}");
        }
        for (counts, node, wanted) in [
            ("4", 0, Some(4)),
            ("4", 1, None),
            ("2(x3),1", 2, Some(2)),
            ("2(x3),1", 3, Some(1)),
            ("2(x3),1", 4, None),
            ("2(x4294967295),1(x2)", 4_294_967_295, None),
            ("2(x", 0, None),
            ("", 0, None),
        ] {
            assert_eq!(tasks_of_node(counts, node), wanted, "{counts} {node}");
        }
    }

    #[test]
    fn only_a_launcher_with_a_library_of_its_own_insists_on_it() {
        for (environment, hint, only) in [
            ("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1", Some(Maker::OpenMpi), true),
            ("PMI_RANK=0 PMI_SIZE=1 HYDI_CONTROL_FD=3", Some(Maker::Mpich), true),
            ("PMI_RANK=0 PMI_SIZE=1", Some(Maker::Mpich), false),
            ("PALS_RANKID=0", Some(Maker::Mpich), false),
            ("FLUX_TASK_RANK=0 FLUX_JOB_SIZE=1 PMI_FD=3", Some(Maker::Mpich), false),
            ("PMIX_RANK=0", Some(Maker::OpenMpi), false),
            ("SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_NTASKS=1", None, false),
            (
                "SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_NTASKS=1 PMIX_RANK=0",
                Some(Maker::OpenMpi),
                false,
            ),
        ] {
            let found = detect(environment).expect(environment);
            assert_eq!(found.family_hint(), hint, "{environment}");
            assert_eq!(found.connects_only(), hint.filter(|_| only), "{environment}");
        }
    }
}
