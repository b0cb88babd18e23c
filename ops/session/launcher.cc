// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/session/launcher.h>

#include <ringleader/ops/session/settings.h>

#include <fmt/core.h>

#include <optional>

namespace ringleader {
namespace {

/// Variables that launchers set: how many processes there are, and which one this is. A rank above
/// 0 also shows that there are several.
constexpr const char* kSizes[] = {
    "OMPI_COMM_WORLD_SIZE",  // Open MPI
    "PMI_SIZE",              // MPICH, Intel MPI, Slurm's PMI
    "PMIX_SIZE",             // PMIx launchers that set it
    "MPI_LOCALNRANKS",       // Hydra
    "SLURM_STEP_NUM_TASKS",  // srun
    "PALS_SIZE",
    "PALS_LOCAL_SIZE",      // HPE's PALS
    "MV2_COMM_WORLD_SIZE",  // MVAPICH
    "JSM_NAMESPACE_SIZE",   // jsrun
    "FLUX_JOB_SIZE",        // Flux
};
constexpr const char* kRanks[] = {
    "OMPI_COMM_WORLD_RANK", "PMI_RANK",       "PMIX_RANK",   "MPI_LOCALRANKID",
    "SLURM_PROCID",         "PALS_RANKID",    "ALPS_APP_PE", "MV2_COMM_WORLD_RANK",
    "JSM_NAMESPACE_RANK",   "FLUX_TASK_RANK",
};

/// How many tasks a batch system has allocated.
constexpr const char* kAllocations[] = {"SLURM_NTASKS", "PBS_NP", "LSB_DJOB_NUMPROC"};

}  // namespace

AloneVerdict judge_alone(const Config& config) {
  AloneVerdict verdict;
  if (config.allow_single) return verdict;
  const auto refuse = [&verdict](const char* variable, std::int64_t value) {
    verdict.refusal = Status(
        Code::invalid_argument,
        fmt::format(
            "MPI says that this process is alone, but {}={} says that it is one of several: the "
            "launcher and the MPI of this program are probably different ones, and each process "
            "would train by itself; start it with the launcher of its MPI, or set "
            "RINGLEADER_ALLOW_SINGLE=1 if this is meant",
            variable, value));
    return verdict;
  };
  for (const char* const variable : kSizes) {
    const auto size = number_from_environment(variable);
    if (size && *size > 1) return refuse(variable, *size);
  }
  for (const char* const variable : kRanks) {
    const auto rank = number_from_environment(variable);
    if (rank && *rank > 0) return refuse(variable, *rank);
  }
  if (number_from_environment("SLURM_STEP_NUM_TASKS")) return verdict;  // a step of one task
  for (const char* const variable : kAllocations) {
    const auto tasks = number_from_environment(variable);
    if (!tasks || *tasks <= 1) continue;
    verdict.warning = fmt::format(
        "this program runs alone in an allocation of several tasks ({}={}); start it with srun or "
        "mpirun to use them, or set RINGLEADER_ALLOW_SINGLE=1",
        variable, *tasks);
    break;
  }
  return verdict;
}

}  // namespace ringleader
