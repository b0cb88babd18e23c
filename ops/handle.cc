// SPDX-License-Identifier: Apache-2.0
#include <ringleader/ops/handle.h>

#include <ringleader/core/runtime/runtime.h>

namespace ringleader {
namespace {

/// Waits for the operation and returns it. Its outcome is constant from then on.
const Operation& finished(const std::shared_ptr<Operation>& operation) {
  if (operation == nullptr) {
    throw Error(Status(Code::invalid_argument, "this Handle does not belong to an operation"));
  }
  // A runtime that is gone has completed all its operations.
  if (const auto runtime = operation->runtime.lock()) runtime->wait(*operation);
  return *operation;
}

}  // namespace

bool Handle::ready() const {
  if (operation_ == nullptr) return false;
  if (operation_->done) return true;
  if (const auto runtime = operation_->runtime.lock()) runtime->poll();
  return operation_->done;
}

void Handle::then(std::function<void(const Status&)> callback) const {
  if (operation_ == nullptr) (void)finished(operation_);  // throws
  const auto runtime = operation_->runtime.lock();
  if (runtime == nullptr) {
    callback(operation_->status);
  } else {
    runtime->when_done(operation_, std::move(callback));
  }
}

void Handle::wait() const { throw_if_error(finished(operation_).status); }

void Handle::wait(void* stream) const {
  if (operation_ == nullptr) (void)finished(operation_);  // throws
  const auto runtime = operation_->runtime.lock();
  throw_if_error(runtime == nullptr ? operation_->status : runtime->wait(*operation_, stream));
}

Status Handle::status() const { return finished(operation_).status; }

const Output& Handle::output() const {
  wait();
  return operation_->output;
}

std::int64_t Handle::value() const {
  wait();
  return operation_->value;
}

}  // namespace ringleader
