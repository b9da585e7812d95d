-- The health of Tagwarden's objects in Argo CD. What an audit finds is not its health: `Compliant` is left alone.
local function condition(name)
  if obj.status ~= nil and obj.status.conditions ~= nil then
    for _, found in ipairs(obj.status.conditions) do
      if found.type == name then
        return found
      end
    end
  end
  return nil
end

local function answer(status, found, otherwise)
  local message = otherwise
  if found ~= nil and found.message ~= nil and found.message ~= "" then
    message = found.message
  end
  return { status = status, message = message }
end

if obj.spec ~= nil and obj.spec.suspend == true then
  return answer("Suspended", nil, "spec.suspend is true")
end

if obj.status == nil then
  return answer("Progressing", nil, "The controller has not seen it yet")
end

if obj.status.observedGeneration ~= nil and obj.status.observedGeneration ~= obj.metadata.generation then
  return answer("Progressing", nil, "The controller has not seen the last change yet")
end

local stalled = condition("Stalled")
if stalled ~= nil and stalled.status == "True" then
  return answer("Degraded", stalled, "Nothing happens until somebody changes something")
end

local reconciling = condition("Reconciling")
if reconciling ~= nil and reconciling.status == "True" then
  return answer("Progressing", reconciling, "Work is under way")
end

local ready = condition("Ready")
if ready ~= nil and ready.status == "True" then
  return answer("Healthy", ready, "Ready")
end

-- What it refers to may be applied in a moment: a sync must not fail for that.
if ready ~= nil and ready.status == "False" and ready.reason ~= "DependencyNotReady" then
  return answer("Degraded", ready, "Not ready")
end

return answer("Progressing", ready, "Not ready yet")
