return function()
	local sum = 0
	for i = 0, 999 do
		for j = 0, 2999 do
			if j % 3 == 0 then sum = sum + i else sum = sum - 1 end
		end
	end
	return sum
end
