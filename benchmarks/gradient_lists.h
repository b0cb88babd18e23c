// SPDX-License-Identifier: Apache-2.0
//
// The exact gradient tensors of known models, in elements, in the order of registration.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace ringleader::benchmarks {

/// ResNet-50: 161 tensors, 25,557,032 parameters.
inline std::vector<std::int64_t> resnet50() {
  std::vector<std::int64_t> counts = {9408, 64, 64};
  std::int64_t in = 64;
  const std::int64_t stages[][2] = {{64, 3}, {128, 4}, {256, 6}, {512, 3}};  // width, blocks
  for (const auto& [w, blocks] : stages) {
    for (std::int64_t block = 0; block < blocks; ++block) {
      for (const std::int64_t count : {w * in, w, w, 9 * w * w, w, w, 4 * w * w, 4 * w, 4 * w}) {
        counts.push_back(count);
      }
      if (block == 0) {
        for (const std::int64_t count : {4 * w * in, 4 * w, 4 * w}) counts.push_back(count);
      }
      in = 4 * w;
    }
  }
  counts.push_back(2048000);
  counts.push_back(1000);
  return counts;
}

/// VGG-16: 32 tensors, 138,357,544 parameters.
inline std::vector<std::int64_t> vgg16() {
  std::vector<std::int64_t> counts;
  std::int64_t in = 3;
  for (const std::int64_t out : {64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512}) {
    counts.push_back(out * in * 9);
    counts.push_back(out);
    in = out;
  }
  for (const std::int64_t count : {102760448, 4096, 16777216, 4096, 4096000, 1000}) {
    counts.push_back(count);
  }
  return counts;
}

/// BERT-large with both of its heads, embeddings tied: 398 tensors, 336,226,108 parameters.
inline std::vector<std::int64_t> bert_large() {
  constexpr std::int64_t kHidden = 1024;
  constexpr std::int64_t kWords = 30522;
  constexpr std::int64_t kSquare = kHidden * kHidden;
  std::vector<std::int64_t> counts = {kWords * kHidden, 512 * kHidden, 2 * kHidden, kHidden,
                                      kHidden};
  for (int layer = 0; layer < 24; ++layer) {
    for (int i = 0; i < 4; ++i) {
      counts.push_back(kSquare);
      counts.push_back(kHidden);
    }
    for (const std::int64_t count :
         {kHidden, kHidden, 4 * kSquare, 4 * kHidden, 4 * kSquare, kHidden, kHidden, kHidden}) {
      counts.push_back(count);
    }
  }
  for (const std::int64_t count : {kSquare, kHidden, kWords, kSquare, kHidden, kHidden, kHidden,
                                   2 * kHidden, std::int64_t{2}}) {
    counts.push_back(count);
  }
  return counts;
}

/// GPT-2 124M, embeddings tied: 148 tensors, 124,439,808 parameters.
inline std::vector<std::int64_t> gpt2() {
  constexpr std::int64_t kHidden = 768;
  constexpr std::int64_t kSquare = kHidden * kHidden;
  std::vector<std::int64_t> counts = {50257 * kHidden, 1024 * kHidden};
  for (int layer = 0; layer < 12; ++layer) {
    for (const std::int64_t count :
         {kHidden, kHidden, 3 * kSquare, 3 * kHidden, kSquare, kHidden, kHidden, kHidden,
          4 * kSquare, 4 * kHidden, 4 * kSquare, kHidden}) {
      counts.push_back(count);
    }
  }
  counts.push_back(kHidden);
  counts.push_back(kHidden);
  return counts;
}

/// All of them by name.
inline const std::map<std::string, std::vector<std::int64_t>>& models() {
  static const std::map<std::string, std::vector<std::int64_t>> lists = {
      {"resnet50", resnet50()}, {"vgg16", vgg16()}, {"bert-large", bert_large()}, {"gpt2", gpt2()}};
  return lists;
}

}  // namespace ringleader::benchmarks
