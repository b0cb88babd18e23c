// SPDX-License-Identifier: Apache-2.0
//
// Everything a program needs: include this and link ringleader::ringleader.
#pragma once

#include <ringleader/core/config.h>
#include <ringleader/core/half.h>
#include <ringleader/core/log.h>
#include <ringleader/core/status.h>
#include <ringleader/core/tensor.h>
#include <ringleader/core/types.h>
#include <ringleader/core/version.h>
#include <ringleader/ops/batch_moments.h>
#include <ringleader/ops/broadcast.h>
#include <ringleader/ops/collectives.h>
#include <ringleader/ops/distributed_function.h>
#include <ringleader/ops/distributed_optimizer.h>
#include <ringleader/ops/distributed_sampler.h>
#include <ringleader/ops/distributed_update.h>
#include <ringleader/ops/gradient_reducer.h>
#include <ringleader/ops/handle.h>
#include <ringleader/ops/memory.h>
#include <ringleader/ops/process_set.h>
#include <ringleader/ops/session.h>
#include <ringleader/ops/slot.h>
#include <ringleader/ops/verify_equivalence.h>
