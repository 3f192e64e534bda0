// A queue plugin in C++: warms source addresses up. Each address may send so many messages on its
// first day, so many on its second, and without limit when its plan is over.
#include <HalonMTA.h>
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::system_clock;

struct Address {
    std::string ip;
    Clock::time_point start;
};

struct Plan {
    std::vector<size_t> days;
    std::vector<Address> addresses;
};

struct Limit {
    std::string ip;
    size_t tokens;
};

constexpr std::chrono::hours DAY{24};

std::mutex lock;
std::condition_variable changed;
Plan plan;
unsigned loaded = 0;
bool stopping = false;
std::thread worker;

std::string text(HalonConfig *node)
{
    const char *found = HalonMTA_config_string_get(node, nullptr);
    return found == nullptr ? "" : found;
}

// Reads "2026-12-01", the beginning of that day in UTC; throws what is wrong with it.
Clock::time_point date(const std::string &value)
{
    std::tm time{};
    char rest;
    if (std::sscanf(value.c_str(), "%4d-%2d-%2d%c", &time.tm_year, &time.tm_mon, &time.tm_mday, &rest) != 3)
        throw std::string("not a date: " + value);
    time.tm_year -= 1900;
    time.tm_mon -= 1;
    return Clock::from_time_t(timegm(&time));
}

Plan read(HalonConfig *config)
{
    Plan result;
    HalonConfig *days = HalonMTA_config_object_get(config, "plan");
    for (size_t at = 0; HalonConfig *day = HalonMTA_config_array_get(days, at); ++at) {
        size_t count = std::strtoul(text(day).c_str(), nullptr, 10);
        if (count == 0)
            throw std::string("not a number of messages: " + text(day));
        result.days.push_back(count);
    }
    HalonConfig *addresses = HalonMTA_config_object_get(config, "addresses");
    for (size_t at = 0; HalonConfig *entry = HalonMTA_config_array_get(addresses, at); ++at) {
        std::string ip = text(HalonMTA_config_object_get(entry, "address"));
        if (ip.empty())
            throw std::string("an entry without an address");
        result.addresses.push_back({ip, date(text(HalonMTA_config_object_get(entry, "start")))});
    }
    return result;
}

bool load(HalonConfig *config)
{
    try {
        Plan fresh = read(config);
        std::lock_guard<std::mutex> guard(lock);
        plan = std::move(fresh);
        ++loaded;
        changed.notify_all();
        return true;
    } catch (const std::string &error) {
        std::fprintf(stderr, "warmup-plan: %s\n", error.c_str());
        return false;
    }
}

// The limits that hold now, and when they change.
std::vector<Limit> limits(const Plan &plan, Clock::time_point now, Clock::time_point &until)
{
    std::vector<Limit> result;
    for (const Address &address : plan.addresses) {
        if (now < address.start) {
            // A limit of 0 would be none: one message a day is the least there is.
            result.push_back({address.ip, 1});
            until = std::min(until, address.start);
            continue;
        }
        auto day = (now - address.start) / DAY;
        if (day >= static_cast<decltype(day)>(plan.days.size()))
            continue;
        result.push_back({address.ip, plan.days[static_cast<size_t>(day)]});
        until = std::min<Clock::time_point>(until, address.start + DAY * (day + 1));
    }
    return result;
}

std::string policy_id(const std::string &ip)
{
    return "warmup-plan:" + ip;
}

// Makes the policies those of `wanted`. A policy that stays is updated: what was sent today counts on.
void hold_to(const std::vector<Limit> &wanted, std::vector<Limit> &held)
{
    const double day = std::chrono::duration<double>(DAY).count();
    for (const Limit &old : held) {
        bool stays = false;
        for (const Limit &limit : wanted)
            stays = stays || limit.ip == old.ip;
        if (!stays)
            HalonMTA_queue_policy_delete(policy_id(old.ip).c_str());
    }
    for (const Limit &limit : wanted) {
        std::string id = policy_id(limit.ip);
        if (!HalonMTA_queue_policy_update(id.c_str(), 0, limit.tokens, day, "warmup-plan", 0)) {
            char *added = HalonMTA_queue_policy_add6(
                id.c_str(), HALONMTA_QUEUE_LOCALIP, HALONMTA_POLICY_TYPE_WARMUP, nullptr,
                limit.ip.c_str(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0,
                limit.tokens, day, HALONMTA_RATE_ALGORITHM_FIXEDWINDOW, 0, "warmup-plan", nullptr, 0,
                false, false, 0);
            if (added == nullptr)
                std::fprintf(stderr, "warmup-plan: no policy for %s: is there one on localip?\n",
                             limit.ip.c_str());
            std::free(added);
        }
        std::fprintf(stderr, "warmup-plan: %s may send %zu a day\n", limit.ip.c_str(), limit.tokens);
    }
    held = wanted;
}

void work()
{
    std::vector<Limit> held;
    std::unique_lock<std::mutex> guard(lock);
    while (!stopping) {
        auto now = Clock::now();
        auto until = now + DAY;
        auto version = loaded;
        std::vector<Limit> wanted = limits(plan, now, until);
        // Not under the lock: a reload must not wait for the queue.
        guard.unlock();
        hold_to(wanted, held);
        guard.lock();
        // A reload may have come meanwhile.
        changed.wait_until(guard, until, [version] { return stopping || version != loaded; });
    }
}

} // namespace

HALON_EXPORT
int Halon_version()
{
    return HALONMTA_PLUGIN_VERSION;
}

HALON_EXPORT
bool Halon_init(HalonInitContext *init)
{
    HalonConfig *config = nullptr;
    HalonMTA_init_getinfo(init, HALONMTA_INIT_APPCONFIG, nullptr, 0, &config, nullptr);
    if (!load(config))
        return false;
    worker = std::thread(work);
    return true;
}

// A plan that cannot be read leaves the old one in force.
HALON_EXPORT
void Halon_config_reload(HalonConfig *config)
{
    load(config);
}

HALON_EXPORT
void Halon_early_cleanup()
{
    {
        std::lock_guard<std::mutex> guard(lock);
        stopping = true;
        changed.notify_all();
    }
    if (worker.joinable())
        worker.join();
}
