-- lua harness.lua LINE.lua: warms up once, then prints the shortest of up to five runs, the
-- result, and how often it ran.
local work = dofile(arg[1])
local check = work()
local best = 1e6
local begin = os.clock()
local count = 1
for run = 1, 5 do
	collectgarbage()
	local start = os.clock()
	check = work()
	best = math.min(best, os.clock() - start)
	count = count + 1
	if os.clock() - begin > 4 then break end
end
print(string.format("%.6f %.0f %d", best, check, count))
