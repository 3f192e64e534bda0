return function()
	local list = {}
	local seed = 42
	for i = 1, 1000000 do
		seed = (seed * 16807) % 2147483647
		list[i] = seed
	end
	table.sort(list, function(a, b) return a < b end)
	return list[1] + list[500001] + list[1000000]
end
