-- Prints the nanoseconds of one call of Lua's own function and of one in C, the shortest of many runs,
-- and those of an empty loop.
local c_abs, abs, x = require "bench_lua", math.abs, 0
local count, loop, builtin, plugin = 5000, 1e9, 1e9, 1e9
for run = 1, 200 do
  local begin = os.clock()
  for i = 1, count do x = i end
  loop = math.min(loop, os.clock() - begin)
  begin = os.clock()
  for i = 1, count do x = abs(i) end
  builtin = math.min(builtin, os.clock() - begin)
  begin = os.clock()
  for i = 1, count do x = c_abs(i) end
  plugin = math.min(plugin, os.clock() - begin)
end
print(string.format("%.1f %.1f %.1f", loop * 1e9 / count, builtin * 1e9 / count, plugin * 1e9 / count))
