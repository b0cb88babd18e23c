// SPDX-License-Identifier: Apache-2.0
#include <ringleader/collectives/nccl/nvtx.h>

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>

namespace ringleader::nccl {
namespace {

nvtxDomainHandle_t domain() {
  static const nvtxDomainHandle_t handle = nvtxDomainCreateA("ringleader");
  return handle;
}

std::uint64_t begin(const char* name) {
  nvtxEventAttributes_t attributes = {};
  attributes.version = NVTX_VERSION;
  attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  attributes.messageType = NVTX_MESSAGE_TYPE_ASCII;
  attributes.message.ascii = name;
  return nvtxDomainRangeStartEx(domain(), &attributes);  // 0 without a profiler
}

void end(std::uint64_t range) { nvtxDomainRangeEnd(domain(), range); }

constexpr Tracer kTracer = {begin, end};

}  // namespace

const Tracer* nvtx_tracer() { return &kTracer; }

}  // namespace ringleader::nccl

#else

namespace ringleader::nccl {

const Tracer* nvtx_tracer() { return nullptr; }

}  // namespace ringleader::nccl

#endif
