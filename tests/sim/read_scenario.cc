// SPDX-License-Identifier: Apache-2.0
//
// Scenarios that a person wrote; tests/sim/scenarios/README.md says how.
#include "scenario.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>

namespace ringleader::sim {
namespace {

class ScenarioReader {
 public:
  Scenario read(std::istream& file) {
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line.substr(0, line.find('#')));
      std::string first;
      if (words >> first) statement(first, words, line);
    }
    for (int rank = 0; rank < scenario_.ranks; ++rank) {
      const std::string& text = texts_.count(rank) != 0 ? texts_[rank] : others_;
      scenario_.programs.push_back({program(text)});
    }
    std::vector<int> world(static_cast<std::size_t>(scenario_.ranks));
    std::iota(world.begin(), world.end(), 0);
    scenario_.process_sets = {world};
    mark_operations();
    return std::move(scenario_);
  }

 private:
  void statement(const std::string& first, std::istringstream& words, const std::string& line) {
    const std::map<std::string, int*> numbers = {
        {"ranks", &scenario_.ranks},     {"radix", &scenario_.radix},
        {"delay", &scenario_.delay_max}, {"skew", &scenario_.skew_max},
        {"think", &scenario_.think_max}, {"burst", &scenario_.burst_percent},
        {"wake", &scenario_.wake_max}};
    if (numbers.count(first) != 0) {
      words >> *numbers.at(first);
    } else if (first == "grace") {
      words >> scenario_.grace;
    } else if (first == "fusion") {
      words >> scenario_.fusion_bytes_max;
    } else if (first == "names") {
      words >> scenario_.names_max;
    } else if (first == "plan") {
      words >> plan_names_.emplace_back() >> plan_sizes_.emplace_back();
    } else if (first == "shutdown") {
      std::string at;
      words >> scenario_.victim >> at >> scenario_.shutdown_at;
    } else if (first == "stalls") {
      for (std::string name; words >> name;) stalls_.insert(name);
      words.clear();
    } else if (first == "rank") {
      std::string who;
      std::getline(words, who, ':');
      std::getline(words,
                   who.find("others") != std::string::npos ? others_ : texts_[std::stoi(who)]);
    } else {
      throw std::runtime_error("a scenario does not know: " + line);
    }
    if (words.fail()) throw std::runtime_error("a scenario's line is not whole: " + line);
  }

  /// The k-th use of a word by a rank is the same operation on all ranks.
  int operation_of(const std::string& word, std::map<std::string, int>& uses) {
    const std::pair<std::string, int> use{word, uses[word]++};
    if (operations_.count(use) == 0) {
      operations_[use] = static_cast<int>(scenario_.operations.size());
      scenario_.operations.push_back({word, 0, Expected::success, word == "join"});
    }
    return operations_[use];
  }

  std::vector<Block> program(const std::string& text) {
    std::map<std::string, int> uses;
    std::vector<Block> blocks;
    for (std::size_t plan = 0; plan < plan_names_.size(); ++plan) {
      Submission submission;
      submission.request.kind = protocol::RequestKind::register_plan;
      submission.request.name = plan_names_[plan];
      for (int i = 0; i < plan_sizes_[plan]; ++i) {
        submission.request.tensors.push_back({"p" + std::to_string(i), {8}, DType::f32});
      }
      submission.plan = static_cast<int>(plan);
      submission.operation = operation_of("plan " + plan_names_[plan], uses);
      blocks.push_back({submission});
    }
    std::istringstream parts(text);
    for (std::string part; std::getline(parts, part, ';');) {
      std::istringstream words(part);
      Block& block = blocks.emplace_back();
      for (std::string word; words >> word;) block.push_back(submission_of(word, uses));
    }
    return blocks;
  }

  Submission submission_of(const std::string& word, std::map<std::string, int>& uses) {
    Submission submission;
    submission.operation = operation_of(word, uses);
    submission.request.name = word;
    const std::size_t dot = word.find('.');
    const auto plan = std::find(plan_names_.begin(), plan_names_.end(), word.substr(0, dot));
    if (dot != std::string::npos && plan != plan_names_.end()) {
      submission.plan = static_cast<int>(plan - plan_names_.begin());
      submission.plan_parameter = std::stoi(word.substr(dot + 1));
    } else if (word == "join") {
      submission.request.kind = protocol::RequestKind::join;
    } else if (word.rfind("barrier=", 0) == 0) {
      submission.request.kind = protocol::RequestKind::barrier;
    } else {
      submission.request.tensors = {{"", {4}, DType::f32}};
    }
    return submission;
  }

  void mark_operations() {
    bool joins = false;
    for (const Operation& operation : scenario_.operations) joins = joins || operation.is_join;
    for (Operation& operation : scenario_.operations) {
      if (joins && !operation.is_join) operation.expected = Expected::success_or_joined;
      if (stalls_.count(operation.name) != 0) operation.expected = Expected::stalled;
    }
  }

  Scenario scenario_;
  std::vector<std::string> plan_names_;
  std::vector<int> plan_sizes_;
  std::map<int, std::string> texts_;
  std::string others_;
  std::set<std::string> stalls_;
  std::map<std::pair<std::string, int>, int> operations_;
};

}  // namespace

Scenario read_scenario(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return ScenarioReader().read(file);
}

}  // namespace ringleader::sim
