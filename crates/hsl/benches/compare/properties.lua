return function()
	local point = { x = 1, y = 2, z = 3 }
	for i = 0, 999999 do
		point.y = point.x + point.z
		point.z = point.y - point.x
	end
	return point.y + point.z
end
