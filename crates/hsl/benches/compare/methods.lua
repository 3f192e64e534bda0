local Counter = {}
Counter.__index = Counter
function Counter.new() return setmetatable({ count = 0 }, Counter) end
function Counter:add(by) self.count = self.count + by end
function Counter:value() return self.count end
return function()
	local counter = Counter.new()
	local sum = 0
	for i = 0, 999999 do
		counter:add(1)
		sum = sum + counter:value()
	end
	return sum
end
